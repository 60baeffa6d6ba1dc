import t from 'tap';
import { sleep } from '../support/command.js';
import { bytes, json } from '../support/recording-upstream.js';
import { talk } from '../support/raw.js';
import { guardBefore, http, id } from './guard-before.js';

// Whose an image is that came with a pull: the caller's, but only where it came with this pull. The attack: a registry of
// the attacker's serves a manifest that names the id of an image of another owner; the engine has it and fetches nothing.

const IMAGE = `sha256:${id('5')}`;
const DIGEST = `sha256:${id('6')}`;
const PULLED = `{"status":"Pulling from evil/x","id":"1"}\r\n{"status":"Digest: ${DIGEST}"}\r\n`;
const DONE = '{"status":"Status: Downloaded newer image for r.example/evil/x:1"}\r\n';
const stream = (text: string): string =>
  `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
const SAID = stream(PULLED + DONE);

interface Before {
  readonly Id: string;
  readonly RepoDigests: readonly string[] | null;
}

for (const [name, before, said, isOwn] of [
  ['an image that was not there', [], SAID, true],
  [
    'other images were there',
    [{ Id: `sha256:${id('7')}`, RepoDigests: [`r.example/evil/x@${DIGEST}`] }],
    SAID,
    true,
  ],
  [
    'it had come from this very repository',
    [{ Id: IMAGE, RepoDigests: [`r.example/evil/x@${DIGEST}`] }],
    SAID,
    true,
  ],
  [
    'it had come from another repository',
    [{ Id: IMAGE, RepoDigests: [`r.example/team-b/app@${DIGEST}`] }],
    SAID,
    false,
  ],
  [
    'it had come from the same path of another registry',
    [{ Id: IMAGE, RepoDigests: [`evil/x@${DIGEST}`] }],
    SAID,
    false,
  ],
  ['it had been built or loaded here', [{ Id: IMAGE, RepoDigests: [] }], SAID, false],
  ['it had been built or loaded here, on an old engine', [{ Id: IMAGE, RepoDigests: null }], SAID, false],
  ['the engine says nothing of an end', [], stream(PULLED), false],
  ['the engine says nothing of a digest', [], stream(DONE), false],
] satisfies readonly (readonly [string, readonly Before[], string, boolean])[]) {
  await t.test(`${name}: ${isOwn ? 'the caller’s own' : 'not the caller’s'}`, async (t) => {
    const image = {
      Id: IMAGE,
      RepoTags: [],
      RepoDigests: [`r.example/evil/x@${DIGEST}`],
      Config: { Labels: null },
    };
    const guarded = await guardBefore(
      {
        '/images/json?all=1&digests=1': before,
        [`/images/r.example/evil/x@${DIGEST}/json`]: image,
        [`/images/${IMAGE}/json`]: image,
      },
      (request, socket) => (request.call.includes('/images/create') ? bytes(said) : json())(request, socket),
    );
    const pulled = await talk(guarded.tcp, [http('POST', '/images/create?fromImage=r.example/evil/x&tag=1')]);
    t.equal(pulled.answers[0]?.status, 200);
    await sleep(50);
    const removal = http('DELETE', `/images/${IMAGE}`);
    for (const [caller, target] of [
      ['a', guarded.tcp],
      ['b', guarded.unix],
    ] as const) {
      guarded.upstream.forget();
      const { answers } = await talk(target, [removal]);
      const may = isOwn && caller === 'a';
      t.equal(answers[0]?.status === 200, may, `${caller}: ${answers[0]?.status}`);
      t.equal(guarded.upstream.requests.length, may ? 1 : 0, 'what reached the engine');
      if (may) break;
    }
  });
}

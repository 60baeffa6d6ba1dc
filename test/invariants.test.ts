import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { projectRoot } from './support/command.js';

// Every `// INVARIANT:` of the sources, by how it begins, and the test that fails when it does not hold.

const TESTS: readonly (readonly [begins: string, file: string, test: string])[] = [
  // app
  ['a name opens no way to the host', 'e2e/egress-scenes.ts', 'a network with default deny'],
  ['what is in force stays in force', 'e2e/egress-scenes.ts', 'a damaged index changes nothing'],
  ['the first one stays', 'e2e/outbound.test.ts', 'which call made it'],
  ['an attempt leaves the queue only', 'e2e/outbound.test.ts', 'nothing is lost'],
  // audit
  ['what was recorded once an alert', 'audit/alerts.test.ts', 'the window ends'],
  ['`written` is called without an error', 'audit/journal.test.ts', 'killed while it writes'],
  ['a number stands for one post', 'audit/receivers.test.ts', 'Splunk: an indexer that is restarted'],
  ['the cursor stands behind confirmed', 'audit/confirmations.test.ts', 'confirmations out of order'],
  ['`confirmed` stands behind confirmed', 'audit/confirmations.test.ts', 'confirmations out of order'],
  ['unless that has happened, what was sent', 'audit/sinks.test.ts', 'syslog over TCP'],
  ['a decision takes effect only', 'audit/durability.test.ts', 'a change is reported when its record'],
  // base
  ['time is at most proportional', 'policy/properties.test.ts', 'glob: no input makes it slow'],
  ['no error of a connection ends', 'guard/resets.test.ts', 'CONNECT'],
  // capture
  ['the engine gets only entries', 'capture/context.test.ts', 'INVARIANT: only what is clear'],
  ['an output without another listener', 'capture/context.test.ts', 'INVARIANT: cut, silent, or given up'],
  ['no block of zeros', 'capture/context.test.ts', 'INVARIANT: only what is clear'],
  ['a client that disconnects after its', 'guard/bad-input.test.ts', 'connections cut at any point'],
  ['a body that was cut short', 'guard/bad-input.test.ts', 'a streamed body that ends early'],
  // config
  ['whatever happens to the files', 'config/policy-store.test.ts', 'INVARIANT: the last good policy'],
  // docker
  [
    'what `feed` or `end` returned',
    'docker/answers.test.ts',
    'malformed input never lets through what follows the flaw',
  ],
  ['nothing that dockerd interprets', 'guard/bypass.test.ts', 'what reached the engine'],
  ['what two engines', 'docker/dockerfile.test.ts', 'ambiguous Dockerfiles'],
  ['one way to delimit the body', 'docker/read.test.ts', 'framing'],
  [
    'it gives the value that',
    'docker/go-json.test.ts',
    'the fast path gives the same value as the full decoder, or none',
  ],
  ['one key, one value', 'docker/go-json.test.ts', 'ambiguous JSON is refused'],
  ['no prototype, so that the key', 'docker/go-json.test.ts', 'properties'],
  ['nothing is inherited here either', 'docker/go-json.test.ts', 'properties'],
  ['reading it gives the same call', 'docker/render.test.ts', 'INVARIANT: reading what was written'],
  ['a parameter never changes the shape', 'docker/render.test.ts', 'INVARIANT: a parameter never'],
  ['the fields of HostConfig are known', 'docker/catalogue.test.ts', 'every HostConfig field is known'],
  ['the only spelling of a version', 'docker/read.test.ts', 'targets that are refused'],
  // egress
  ['no reserved address, none of', 'egress/table.test.ts', 'any listed range'],
  ['a name never leads into the host', 'egress/gateway.test.ts', 'targets: one reading, or none'],
  ['not a byte goes to the other side', 'egress/gateway.test.ts', 'CONNECT: nothing passes before'],
  ['none for a reserved address', 'egress/table.test.ts', 'a hostile list'],
  ['while the table is replaced', 'e2e/egress-scenes.ts', '10,000 connections while lists'],
  ['in alert mode everything is reported', 'egress/dns.test.ts', 'the resolver: listed names'],
  ['what refuses stands in rules', 'egress/table.test.ts', 'counting and refusing are rules apart'],
  ['what the host says to itself', 'e2e/egress-scenes.ts', 'the network of the host'],
  ['only when the other side has them', 'e2e/egress-scenes.ts', '10,000 connections while lists'],
  ['elements are written from numbers', 'egress/table.test.ts', 'no text of a feed reaches nft'],
  // feeds
  ['a copy that cannot be read', 'feeds/feeds.test.ts', 'a damaged copy takes nothing out'],
  ['a feed that fails, shrinks or lies', 'feeds/feeds.test.ts', 'a feed that fails, shrinks'],
  ['an index that is in force', 'feeds/feeds.test.ts', 'an index is built and swapped'],
  ['whatever goes wrong, the last good', 'feeds/fetch.test.ts', 'servers that misbehave leave'],
  // guard
  ['a call is judged by what is in force', 'guard/in-force.test.ts', 'a body of JSON is judged'],
  ['the end of the archive is released', 'guard/in-force.test.ts', 'INVARIANT: a build is released'],
  ['the engine sees no end of the archive', 'guard/builds.test.ts', 'a context that is denied has no end'],
  ['of an answer that cannot be changed', 'guard/redact.test.ts', 'a large answer that goes wrong'],
  ['an answer that is cut', 'guard/bad-input.test.ts', 'an engine that misbehaves'],
  [
    'no caller gets an answer that was begun',
    'upstream/share.test.ts',
    'a read that is asked for after a change',
  ],
  ['no answer crosses owners', 'guard/shared-reads.test.ts', 'lists of two owners never mix'],
  ['what fails at one reader', 'upstream/share.test.ts', 'what fails at one caller fails at no other'],
  ['no request header but the bearer', 'guard/cases-connection.ts', 'X-Forwarded-For'],
  ['one decision a call', 'ownership/races.test.ts', 'one decision for a build'],
  ['what is sent is the call that was', 'policy/rewrite.test.ts', 'INVARIANT: what is sent was inspected'],
  ['only sources of the policy in force', 'guard/limits.test.ts', 'a reload keeps levels'],
  ['nothing that a client can make up', 'guard/limits.test.ts', 'client keys: nothing'],
  ['a finished call never takes a stream slot', 'guard/limits.test.ts', 'streams: so many at the same time'],
  ['whatever a step throws ends here', 'guard/bad-input.test.ts', 'random bytes'],
  // hazards
  ['`/srv/{{"../etc"}}` does not pass', 'hazards/engine-load.test.ts', 'templates of services'],
  ['a command that cannot be read', 'hazards/dockerfile.test.ts', 'a flood of commands is opaque'],
  [
    'HostConfig fields are judged',
    'hazards/container.test.ts',
    'a HostConfig is inspected in all places where an engine may find it',
  ],
  ['a Dockerfile without a single', 'hazards/dockerfile.test.ts', 'a row per hazard'],
  [
    'that is a hazard, and no condition',
    'hazards/inspect.test.ts',
    'many hazards in one body, or a very long one',
  ],
  ['what an engine may take for the id', 'hazards/image-name.test.ts', 'registry, tag and digest'],
  [
    'what cannot be decoded to its end',
    'hazards/indicators.test.ts',
    'a text that cannot be searched to its end is opaque',
  ],
  [
    'every unknown field of the call',
    'hazards/catalogue.test.ts',
    'one row per hazard: a call that has it, and a near miss without it',
  ],
  [
    'a non-zero field without an inspector',
    'hazards/field-inspectors.test.ts',
    'a field without an inspector',
  ],
  [
    'an operation that cannot be limited',
    'policy/ownership.test.ts',
    'calls that a condition about owners lets pass',
  ],
  [
    'the top level too, where engines',
    'hazards/ownership.test.ts',
    'the objects that a call names, in all places',
  ],
  [
    'an operation that is not in the catalogue',
    'hazards/ownership.test.ts',
    'every operation of the catalogue',
  ],
  // history and intel
  ['names that only look like a hash', 'intel/formats.test.ts', 'attributes of entries are kept'],
  [
    'from prose, only what was defanged',
    'intel/formats.test.ts',
    'prose: only defanged values, in all spellings',
  ],
  ['a fingerprint alone finds nothing', 'intel/indicator-index.test.ts', 'INVARIANT: a fingerprint'],
  ['a budget that is used up', 'intel/scan.test.ts', 'more is found than is listed'],
  // ownership
  ['an image without a label', 'ownership/ownership.test.ts', 'objects of other owners look'],
  ['only an image that was not there', 'ownership/pulls.test.ts', 'an image that was not there'],
  // policy
  [
    'an unknown condition counts as',
    'policy/decide.test.ts',
    'an unknown fact: no allow rule holds, every deny rule does',
  ],
  ['the call that a verdict lets pass', 'policy/rewrite.test.ts', 'a rule is judged on the rewritten call'],
  ['never more than the burst', 'policy/quotas.test.ts', 'a refill never exceeds the burst'],
  [
    'swarm handlers make a map',
    'policy/ownership.test.ts',
    'INVARIANT: a list shows objects with the owner’s label, with any filter of the client',
  ],
  [
    'a label of the client, of the image',
    'policy/ownership.test.ts',
    'INVARIANT: new objects have the owner’s label, even if the client sends another',
  ],
  ['an allow never passes a call', 'policy/properties.test.ts', 'INVARIANT: an allow names a rule'],
  ['below a key that objects may have', 'policy/redact.test.ts', 'where names come from users'],
  ['what came out of a mapping', 'policy/rewrite.test.ts', 'images and pins'],
  ['rewriting what came out', 'policy/rewrite.test.ts', 'INVARIANT: rewriting again'],
  ['none of them is forgotten', 'policy/rewrite.test.ts', 'unknown fields stay hazards'],
  // upstream
  ['bytes without a request are never', 'guard/bad-input.test.ts', 'what an engine sends beyond its answer'],
  ['what a handler still holds', 'upstream/engine.test.ts', 'what a handler keeps is never'],
  ['only a request that changes nothing', 'upstream/engine.test.ts', 'INVARIANT: only GET and HEAD'],
  ['no method, target, name or value', 'upstream/engine.test.ts', 'INVARIANT: one call is one request'],
  ['only the `end` of the stream', 'upstream/engine.test.ts', 'INVARIANT: a body that fails'],
];

/** What follows the word in comments, in one line. */
function invariantsOf(source: string): string[] {
  return [...source.matchAll(/\bINVARIANT: ((?:.*\n){1,3})/g)].map(([, text = '']) =>
    text.replace(/\n\s*(?:\*|\/\/) ?/g, ' ').trim(),
  );
}

const files = readdirSync(join(projectRoot, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .sort();
const invariants = files.flatMap((name) =>
  invariantsOf(readFileSync(join(projectRoot, 'src', name), 'utf8')).map((text) => ({ name, text })),
);

void t.test('each invariant has a test', (t) => {
  for (const { name, text } of invariants) {
    const rows = TESTS.filter(([begins]) => text.startsWith(begins));
    const shown = `src/${name}: ${text.slice(0, 60)}`;
    t.equal(rows.length, 1, rows.length === 0 ? `${shown}: add it to this table, with its test` : shown);
  }
  t.end();
});

void t.test('each test is there, and each row still stands for an invariant', (t) => {
  for (const [begins, file, test] of TESTS) {
    const text = readFileSync(join(projectRoot, 'test', file), 'utf8');
    t.ok(text.includes(test), `test/${file}: ${test}`);
    t.ok(
      invariants.some((one) => one.text.startsWith(begins)),
      `${begins}: no invariant begins so any more; was it reworded?`,
    );
  }
  t.end();
});

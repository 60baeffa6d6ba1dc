import t, { type Test } from 'tap';
import { json, type Arrived } from '../support/recording-upstream.js';
import { talk, type Part } from '../support/raw.js';
import { POLICY, type Case } from './case.js';
import { HEADER_CASES, UPGRADE_CASES } from './cases-connection.js';
import { FRAMING_CASES } from './cases-framing.js';
import { JSON_CASES } from './cases-json.js';
import { FORM_CASES, QUERY_CASES } from './cases-parameters.js';
import { METHOD_CASES, PATH_CASES } from './cases-target.js';
import { ping, startGuarded } from './guarded.js';

const CASES: readonly Case[] = [
  ...PATH_CASES,
  ...METHOD_CASES,
  ...QUERY_CASES,
  ...FORM_CASES,
  ...JSON_CASES,
  ...FRAMING_CASES,
  ...UPGRADE_CASES,
  ...HEADER_CASES,
];

/** All that may ever reach the engine; Host is always the same. */
const HEADERS = new Set([
  'host',
  'connection',
  'content-type',
  'content-length',
  'transfer-encoding',
  'upgrade',
  'x-registry-auth',
  'sec-websocket-key',
  'sec-websocket-version',
  'sec-websocket-protocol',
]);

function show({ call, body }: Arrived): string {
  return body.length === 0 ? call : `${call} ${body.toString('latin1')}`;
}

const guarded = await startGuarded({ policy: POLICY, limits: { headersTimeout: 5_000, bodyTimeout: 3_000 } });
const { upstream } = guarded;
t.teardown(() => guarded.close());

const listeners = [guarded.tcp, guarded.unix];
for (const [index, one] of CASES.entries()) {
  await t.test(one.name, async (t) => {
    upstream.forget();
    upstream.behave = one.engine ?? json();
    const parts: readonly Part[] = typeof one.bytes === 'string' ? [one.bytes] : one.bytes;
    const statuses = [one.status].flat();
    // Who expects no answer, or that the guard hangs up, waits for the end.
    const wait = { answers: one.closes === true ? 0 : statuses.length, ...one.talk };
    const got = await talk(listeners[index % 2]!, parts, wait);
    upstream.behave = json();
    // The guard is alive, and whatever it passed on before has been sent: one event loop serves both calls.
    t.equal(await ping(guarded.tcp), 200, 'the guard answers');

    t.strictSame(upstream.requests.map(show).slice(0, -1), one.upstream, 'what reached the engine');
    for (const request of upstream.requests) checkArrived(t, request);
    const sent = upstream.requests[0]?.headers.map(([name, value]) => `${name.toLowerCase()}: ${value}`);
    for (const header of one.carries ?? []) t.ok(sent?.includes(header), `${header} in ${sent?.join(' | ')}`);
    if (one.stream !== undefined) t.equal(upstream.requests[0]?.stream.toString('latin1'), one.stream);

    t.strictSame(
      got.answers.map(({ status }) => status),
      statuses,
      `the answers: ${got.text.slice(0, 300)}`,
    );
    if (one.answer !== undefined) t.ok(got.text.includes(one.answer), `in the answer: ${got.text}`);
    else t.notMatch(got.text, 'HTTP/1.1 100 ', 'no 100 Continue');
    if (one.closes === true) t.not(got.closed, 'open', 'the connection was closed');
    t.notOk(got.timedOut, 'in time');

    // Without the ping.
    const decisions = guarded
      .audit()
      .filter(({ event }) => event === 'decision')
      .slice(0, -1);
    const verdict = one.expect === 'passes' ? 'allow' : 'deny';
    const last = decisions.findLast((line) => line.verdict === verdict);
    t.ok(last, `a decision on record: ${verdict}`);
    if (one.code !== undefined) t.equal(last?.code, one.code, last?.reason ?? '');
    if (one.expect === 'refused') t.not(last?.code, 'hazard');
    const allowed = decisions.filter((line) => line.verdict === 'allow').length;
    // A connection that is cut takes the request with it that was just allowed.
    if (one.code === 'pipeline') t.ok(allowed >= one.upstream.length);
    else t.equal(allowed, one.upstream.length, 'as many allowed as reached the engine');
  });
}

/** INVARIANT: whatever reaches the engine is whole, alone on its connection, and has no header of the client's. */
function checkArrived(t: Test, request: Arrived): void {
  t.ok(request.complete, 'whole');
  t.equal(request.early.length, 0, 'nothing was sent behind it');
  const names = request.headers.map(([name]) => name.toLowerCase());
  t.strictSame(
    names.filter((name) => !HEADERS.has(name)),
    [],
    'no other headers',
  );
  t.equal(new Set(names).size, names.length, 'no header twice');
  t.ok(
    request.headers.some(([name, value]) => name.toLowerCase() === 'host' && value === 'docker'),
    'one Host',
  );
}

const count = (expect: Case['expect']): number => CASES.filter((one) => one.expect === expect).length;
t.comment(
  `${CASES.length} cases: ${count('refused')} refused, ${count('denied')} denied, ${count('passes')} pass`,
);

import t, { type Test } from 'tap';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AuditEvent, DecisionEvent } from '../../src/audit/event.js';
import { openJournal, type Journal } from '../../src/audit/journal.js';
import { openSinks, type Sinks } from '../../src/audit/sinks/sinks.js';
import { verifyTrail } from '../../src/app/audit.js';
import { killGroup, run, sleep, until } from '../support/command.js';
import { freePort } from '../support/free-port.js';
import { JOURNAL } from '../support/journal-options.js';
import { SINK } from '../support/sink-options.js';
import { env, isThere, lib, startReceiver, stopReceiver, tools } from '../support/syslog-servers.js';

// The shipped configurations of receivers, with other paths and another port, under the real rsyslog and syslog-ng: what the real
// sink sends over TLS with a client certificate arrives byte for byte, large records too.

const deploy = fileURLToPath(new URL('../../../deploy/siem/', import.meta.url));
interface Receiver {
  /** What stands in the shipped file, and what takes its place: nothing but paths, and where it listens. */
  readonly places: (directory: string, port: number) => Readonly<Record<string, string>>;
  readonly command: (file: string, directory: string) => readonly string[];
  readonly check: (file: string, directory: string) => readonly string[];
}

const syslogNg = (file: string, directory: string): string[] => [
  'syslog-ng',
  ...['-f', file, '--module-path', join(tools, 'usr/lib/syslog-ng/3.38')],
  ...['-R', join(directory, 'persist'), '-p', join(directory, 'pid'), '-c', join(directory, 'ctl')],
];

const RECEIVERS: Readonly<Record<string, Receiver>> = {
  'rsyslog.conf': {
    places: (directory, port) => ({
      '/var/spool/rsyslog': directory,
      '/etc/rsyslog.d/breakwater': directory,
      '/var/log/breakwater': directory,
      'port="6514"': `address="127.0.0.1" port="${port}"`,
    }),
    command: (file, directory) => [
      ...['rsyslogd', '-n', '-f', file, '-i', join(directory, 'pid'), '-M', `${join(lib, 'rsyslog')}/`],
    ],
    check: (file) => ['rsyslogd', '-N1', '-f', file, '-M', `${join(lib, 'rsyslog')}/`],
  },
  'syslog-ng.conf': {
    places: (directory, port) => ({
      '/etc/syslog-ng/breakwater': directory,
      '/var/log/breakwater': directory,
      '/var/lib/syslog-ng': directory,
      'ip("0.0.0.0")': 'ip("127.0.0.1")',
      'port(6514)': `port(${port})`,
    }),
    command: (file, directory) => [...syslogNg(file, directory), '-F', '--no-caps'],
    check: (file, directory) => [...syslogNg(file, directory), '-s'],
  },
};

/** A CA, and certificates of it for both sides. */
async function makeKeys(t: Test, directory: string): Promise<void> {
  const openssl = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await run('openssl', args);
    t.equal(code, 0, stderr);
  };
  const at = (name: string): string => join(directory, name);
  const days = ['-days', '2'];
  await openssl(
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=test CA', ...days],
    ...['-keyout', at('ca-key.pem'), '-out', at('ca.pem')],
  );
  writeFileSync(at('names'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n');
  writeFileSync(at('no-names'), 'basicConstraints=CA:false\n');
  for (const [name, subject, extensions] of [
    ['', 'receiver', 'names'],
    ['client-', 'breakwater', 'no-names'],
    ['stranger-', 'stranger', 'no-names'],
  ] as const) {
    const key = ['-newkey', 'rsa:2048', '-nodes', '-subj', `/CN=${subject}`, '-keyout', at(`${name}key.pem`)];
    await openssl('req', ...key, '-out', at('request.pem'));
    const ca = ['-CA', at('ca.pem'), '-CAkey', at('ca-key.pem'), '-CAcreateserial', ...days];
    await openssl(
      ...['x509', '-req', '-in', at('request.pem'), ...ca, '-extfile', at(extensions)],
      ...['-out', at(`${name}cert.pem`)],
    );
  }
}

/** Records that a receiver might spoil: short ones, texts with tabs and escapes, one far beyond any default size. */
function events(): AuditEvent[] {
  const decision = (call: string, facts: DecisionEvent['facts'], reason: string): DecisionEvent => ({
    event: 'decision',
    call,
    client: { listener: 'lan', address: '10.20.0.7', port: 4711, certificate: ['CN=ci'], tokenSha256: '' },
    sources: ['ci'],
    method: 'POST',
    operation: 'ContainerCreate',
    apiVersion: '1.41',
    params: { name: 'job' },
    facts,
    hazards: ['privileged'],
    verdict: 'deny',
    enforced: true,
    rule: '',
    code: 'hazard',
    reason,
    rewrites: [],
    policy: 'p1',
  });
  const large = Object.fromEntries(
    Array.from({ length: 20 }, (_, n) => [`fact${n}`, Array.from({ length: 60 }, () => 'x'.repeat(1_000))]),
  );
  const odd = [
    '\t\r\n#011 %msg% $MSG <13>1 2026-01-02T03:04:05Z',
    'äöü – 漢字 \u{1f433}',
    '\\n\\"]} 17 <110>1 -',
    ' ',
  ];
  return [
    ...odd.map((reason, n) => decision(`odd-${n}`, {}, reason)),
    decision('large', large, 'a large one'),
    ...Array.from({ length: 500 }, (_, n): AuditEvent => ({
      event: 'outcome',
      call: `c-${n}`,
      operation: 'SystemPing',
      status: 200,
      end: 'complete',
      duration: 1,
      bytesIn: 0,
      bytesOut: 0,
    })),
  ];
}

function openSender(
  directory: string,
  port: number,
  who: string,
): { journal: Journal; sinks: Sinks; log: string[] } {
  const journal = openJournal({
    ...JOURNAL,
    directory: join(directory, 'journal'),
    key: join(directory, 'signer.pem'),
    segmentSize: 2 ** 20,
    checkpointRecords: 100,
  });
  const log: string[] = [];
  const at = (name: string): string => join(directory, name);
  const sinks = openSinks(
    [
      {
        ...SINK,
        name: `siem-${who}`,
        url: `tls://127.0.0.1:${port}`,
        tls: { ca: at('ca.pem'), cert: at(`${who}-cert.pem`), key: at(`${who}-key.pem`) },
        confirm: { records: 10_000, interval: 500, settle: 50 },
      },
    ],
    { directory: join(directory, 'journal'), last: () => journal.last() },
    { version: '1.2.3', host: 'guard.example' },
    (message) => void log.push(message),
  );
  journal.onRecords(() => sinks.wake());
  return { journal, sinks, log };
}

async function prove(t: Test, name: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'bw-receiver-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  mkdirSync(join(directory, 'journal'));
  await makeKeys(t, directory);
  const port = await freePort();
  const { places, command, check } = RECEIVERS[name]!;
  let config = readFileSync(join(deploy, name), 'utf8');
  for (const [shipped, here] of Object.entries(places(directory, port))) {
    t.ok(config.includes(shipped), `the shipped file has ${shipped}`);
    config = config.replaceAll(shipped, here);
  }
  const file = join(directory, name);
  writeFileSync(file, config);

  const [program = '', ...args] = check(file, directory);
  const checked = await run(join(tools, 'usr/sbin', program), args, { env });
  t.equal(checked.code, 0, `${args[0]}: ${checked.stderr}`);
  t.notMatch(checked.stderr, /warning|deprecated|error(?! code)/i, 'nothing to complain of');

  const receiver = await startReceiver(port, command(file, directory));
  t.teardown(() => killGroup(receiver));
  const out = join(directory, 'audit.jsonl');

  // A certificate of the same CA with another name: nothing of it is written.
  const stranger = openSender(directory, port, 'stranger');
  await Promise.all(
    events()
      .slice(0, 3)
      .map((event) => new Promise((resolve) => stranger.journal.record(event, resolve))),
  );
  await until(() => stranger.log.length > 0, 10_000);
  await sleep(300);
  stranger.journal.close();
  await stranger.sinks.stop(100);
  t.ok(!existsSync(out) || readFileSync(out).length === 0, 'a stranger writes nothing');

  const { journal, sinks, log } = openSender(directory, port, 'client');
  await Promise.all(events().map((event) => new Promise((resolve) => journal.record(event, resolve))));
  journal.close();
  sinks.wake();
  const isDelivered = await until(() => sinks.needed() > journal.last(), 30_000);
  t.ok(isDelivered, `delivered; ${log.join('; ')}`);
  await sinks.stop(5_000);
  await stopReceiver(receiver);

  const lines = (text: string): string[] => text.split('\n').slice(0, -1);
  const written = readdirSync(join(directory, 'journal'))
    .filter((one) => one.endsWith('.jsonl'))
    .sort()
    .flatMap((one) => lines(readFileSync(join(directory, 'journal', one), 'utf8')));
  const received = [...new Set(lines(readFileSync(out, 'utf8')))];
  t.equal(received.length, written.length, 'every record');
  const known = new Set(written);
  const spoiled = received.filter((line) => !known.has(line)).map((line) => line.slice(0, 300));
  if (!t.strictSame(spoiled.slice(0, 5), [], 'byte for byte')) return;
  const order = received.map((line) => (JSON.parse(line) as { seq: number }).seq);
  t.strictSame(
    order,
    [...order].sort((a, b) => a - b),
    'in order',
  );
  t.ok(Math.max(...received.map((line) => line.length)) > 1_000_000, 'the large one among them');

  // What was received proves the journal: it fits, and no longer when the journal lost its end.
  const keyFile = join(directory, 'signer.pem.pub');
  const proof = { keyFile, shippedFile: out };
  t.equal((await verifyTrail(join(directory, 'journal'), proof)).problem, undefined);
  const segments = readdirSync(join(directory, 'journal'))
    .filter((one) => one.endsWith('.jsonl'))
    .sort();
  rmSync(join(directory, 'journal', segments.at(-1)!));
  t.ok((await verifyTrail(join(directory, 'journal'), proof)).problem, 'a journal that was cut');
}

if (isThere) {
  for (const name of Object.keys(RECEIVERS)) await t.test(name, (t) => prove(t, name));
} else if (process.env['BREAKWATER_E2E'] === 'required') {
  t.fail(`no rsyslog and syslog-ng in ${tools}; get them with test/support/fetch-syslog.sh`);
} else {
  const how = `NO rsyslog AND syslog-ng in ${tools}: sh test/support/fetch-syslog.sh ${tools}`;
  await t.test('receivers', { skip: how }, async () => {});
}

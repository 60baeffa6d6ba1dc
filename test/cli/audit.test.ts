import t from 'tap';
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { chain, GENESIS, type Head } from '../../src/audit/chain.js';
import { formatEvent } from '../../src/audit/event-line.js';
import { openJournal } from '../../src/audit/journal.js';
import { segmentName } from '../../src/audit/journal-files.js';
import { runAudit } from '../../src/cli/audit.js';
import { RECORDS } from '../audit/records.js';
import { until } from '../support/command.js';
import { JOURNAL } from '../support/journal-options.js';

const root = mkdtempSync(join(tmpdir(), 'bw-audit-'));
t.teardown(() => rmSync(root, { recursive: true, force: true }));
const journal = join(root, 'journal');

async function audit(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const seen = { out: '', err: '' };
  const sink = (name: 'out' | 'err'): Writable =>
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        seen[name] += chunk.toString();
        done();
      },
    });
  const code = await runAudit(args, { stdout: sink('out'), stderr: sink('err') });
  return { code, ...seen };
}

const client = { listener: 'lan', address: '10.20.0.7', port: 4711, certificate: [], tokenSha256: '' };
const decision = {
  event: 'decision',
  call: 'abc-1',
  client,
  sources: ['ci'],
  method: 'POST',
  operation: 'ContainerCreate',
  apiVersion: '1.41',
  params: {},
  facts: { image: 'alpine' },
  hazards: ['bind:/etc'],
  verdict: 'deny',
  enforced: true,
  rule: '',
  code: 'hazard',
  reason: 'no rule permits bind:/etc \u001b[2J\r\nfaked line',
  rewrites: [],
  policy: 'p1',
} as const;

const open = openJournal({
  directory: journal,
  key: join(root, 'key.pem'),
  ...JOURNAL,
  segmentSize: 2048,
  checkpointRecords: 10,
});
const record = (event: Parameters<typeof open.record>[0]): Promise<unknown> =>
  new Promise((resolve) => open.record(event, resolve));
await record(decision);
await record({
  ...decision,
  call: 'abc-2',
  operation: 'SystemPing',
  hazards: [],
  verdict: 'allow',
  rule: 'look',
});
await record({
  event: 'outcome',
  call: 'abc-2',
  operation: 'SystemPing',
  status: 200,
  end: 'complete',
  duration: 1.5,
  bytesIn: 0,
  bytesOut: 2,
});
for (let n = 0; n < 12; n++) await record({ ...decision, call: `more-${n}` });
open.close();

await t.test('tail: words, filters, JSON', async (t) => {
  const all = await audit('tail', journal);
  t.equal(all.code, 0, all.err);
  t.match(
    all.out,
    /deny {2}ci \(10\.20\.0\.7\) ContainerCreate alpine \[bind:\/etc\]: no rule permits bind:\/etc/,
  );
  t.match(all.out, /allow ci \(10\.20\.0\.7\) SystemPing alpine: rule look abc-2/);
  t.match(all.out, /end {2} +SystemPing: 200 complete, 1\.5 ms abc-2/);
  t.notMatch(all.out, /\u001b|\r/, 'nothing reaches the terminal but text');
  t.equal((await audit('tail', journal, '--call', 'abc-2')).out.trim().split('\n').length, 2);
  t.equal((await audit('tail', journal, '--hazard', 'bind')).out.trim().split('\n').length, 13);
  t.equal((await audit('tail', journal, '--hazard', 'bind:/et')).out, '');
  t.equal(
    (await audit('tail', journal, '--verdict', 'allow', '--source', 'ci')).out.trim().split('\n').length,
    1,
  );
  t.equal((await audit('tail', journal, '--source', 'nobody')).out, '');
  const json = await audit('tail', journal, '--json', '--event', 'outcome');
  t.match(JSON.parse(json.out) as object, { event: 'outcome', call: 'abc-2', status: 200 });
});

await t.test('tail of a plain file; lines that are none', async (t) => {
  const file = join(root, 'audit.jsonl');
  writeFileSync(file, '{"event":"outcome","call":"x","operation":"SystemPing"}\nhello\n');
  const { code, out, err } = await audit('tail', file);
  t.equal(code, 1);
  t.match(out, /SystemPing/);
  t.match(err, /1 lines of .* are no events/);
});

await t.test('tail -f sees what comes later, in the next segments too', async (t) => {
  const file = join(root, 'growing.jsonl');
  writeFileSync(file, '{"event":"outcome","call":"one"}\n');
  let out = '';
  const stdout = new Writable({
    write(chunk: Buffer, _encoding, done) {
      out += chunk.toString();
      done();
    },
  });
  const running = runAudit(['tail', '-f', '--json', file], { stdout, stderr: stdout });
  t.ok(await until(() => out.includes('one'), 5_000));
  appendFileSync(file, '{"event":"outcome","call":"two"}\n{"event":"outc');
  t.ok(await until(() => out.includes('two'), 5_000));
  appendFileSync(file, 'ome","call":"three"}\n');
  t.ok(await until(() => out.includes('three'), 5_000), 'a line that came in two pieces');
  stdout.emit('error', new Error('the reader left'));
  t.equal(await running, 0);
});

/** A journal of three segments, a day each, with a record every hour. */
function threeDays(): { directory: string; lines: string[] } {
  const directory = mkdtempSync(join(root, 'days-'));
  const lines: string[] = [];
  let head: Head = { seq: 0, hash: GENESIS };
  for (let day = 1; day <= 3; day++) {
    const segment: string[] = [];
    const path = join(directory, segmentName(head.seq + 1));
    const add = (event: string): void => {
      const next = chain(head, event);
      segment.push(next.line);
      head = next.head;
    };
    const at = (hour: number): string => `2026-01-0${day}T${String(hour).padStart(2, '0')}:00:00.000Z`;
    add(
      `{"v":1,"event":"segment","time":"${at(0)}","id":"j.${head.seq + 1}","journal":"j","previous":"${head.hash}"}\n`,
    );
    for (let hour = 1; hour < 24; hour++) {
      const event = { ...decision, call: `d${day}h${hour}`, reason: '\u00e9\u20ac' };
      add(formatEvent(event, Date.parse(at(hour))));
    }
    writeFileSync(path, segment.join(''));
    lines.push(...segment);
  }
  return { directory, lines };
}

await t.test('export: the lines of a journal as they stand, of any span', async (t) => {
  const { directory, lines } = threeDays();
  const all = await audit('export', directory, '--since', '1970-01-01');
  t.equal(all.code, 0, all.err);
  t.equal(all.out, lines.join(''));
  const copy = t.testdir({ copy: { [segmentName(1)]: '' } });
  writeFileSync(join(copy, 'copy', segmentName(1)), lines.slice(0, 24).join(''));
  t.equal((await audit('verify', join(copy, 'copy'))).code, 0, 'a segment that was exported verifies');
  const some = ['--since', '2026-01-02T10:00:00Z', '--until', '2026-01-03T02:00:00+01:00'];
  const part = await audit('export', directory, ...some);
  t.equal(part.out, lines.slice(24 + 10, 48 + 1).join(''));
  t.equal((await audit('tail', directory, '--json', ...some)).out.trim().split('\n').length, 15);
  t.equal(
    (await audit('export', directory, ...some, '--call', 'd2h12', '--source', 'ci')).out,
    lines[24 + 12],
  );
  t.equal((await audit('export', directory, '--since', '2026-01-04')).out, '');
  t.equal((await audit('export', directory, '--since', '1h')).out, '', 'an age');
  t.equal((await audit('export', directory, '--since', '36500d')).out, lines.join(''));
});

await t.test(
  'export: older segments are not even read, a clock that was set back is allowed for',
  async (t) => {
    const { directory, lines } = threeDays();
    const first = join(directory, segmentName(1));
    writeFileSync(first, `garbage\n${readFileSync(first, 'utf8')}`);
    const late = await audit('export', directory, '--since', '2026-01-02T00:20:00Z');
    t.equal(late.code, 0, late.err);
    t.equal(late.out, lines.slice(25).join(''));
    const early = await audit('export', directory, '--since', '2026-01-02T00:05:00Z');
    t.equal(early.code, 1, 'five minutes are less than a clock may be wrong: the first segment is read');
    t.match(
      early.err,
      /^breakwater audit: 1 lines of .* are no records and were left out; see breakwater audit/,
    );
    t.equal(early.out, lines.slice(25).join(''), 'what is a record is there');
  },
);

await t.test('export: every format, to a file that is whole or not there', async (t) => {
  const { directory, lines } = threeDays();
  const folder = t.testdir();
  for (const [format, looks] of Object.entries({
    breakwater: /^\{"seq":1,/,
    ocsf: /^\{"category_uid":0,/,
    ecs: /^\{"@timestamp":"2026-01-01T00:00:00.000Z",/,
    cef: /^CEF:0\|/,
    leef: /^LEEF:2\.0\|/,
    gelf: /^\{"version":"1\.1",/,
  })) {
    const out = join(folder, format);
    writeFileSync(out, 'an older one', { mode: 0o644 });
    const {
      code,
      err,
      out: printed,
    } = await audit(...['export', directory, '--since', '1970-01-01', '--format', format, '--out', out]);
    t.equal(code, 0, err);
    t.equal(printed, '');
    const text = readFileSync(out, 'utf8');
    t.match(text, looks);
    t.equal(text.trim().split('\n').length, lines.length);
    t.equal(statSync(out).mode & 0o777, 0o600);
  }
  t.equal(readdirSync(folder).length, 6, 'nothing temporary is left');
  const since = ['--since', '1970-01-01', '--out'];
  await t.rejects(audit('export', directory, ...since, '/dev/null'), /\/dev\/null is no regular file; leave/);
  await t.rejects(audit('export', directory, ...since, folder), /is no regular file/);
  const nowhere = join(folder, 'none', 'x');
  await t.rejects(audit('export', directory, ...since, nowhere), /none\/x cannot be written: ENOENT/);
  const target = join(folder, 'ecs');
  const before = readFileSync(target, 'utf8');
  await t.rejects(audit('export', join(folder, 'missing'), ...since, target), /ENOENT/);
  t.equal(readFileSync(target, 'utf8'), before, 'what was there stays when there is nothing to export');
  symlinkSync(target, join(folder, 'link'));
  t.equal((await audit('export', directory, ...since, join(folder, 'link'))).code, 0);
  t.equal(readFileSync(target, 'utf8'), lines.join(''), 'a link is followed');
});

await t.test('export of a plain file; one without a last line end', async (t) => {
  const file = join(t.testdir(), 'audit.jsonl');
  const one = formatEvent(decision, Date.UTC(2026, 0, 2, 3, 4, 5, 678));
  writeFileSync(file, `${one}no json\n[1]\n${one.trim()}`);
  const { code, out, err } = await audit('export', file, '--since', '2026-01-02');
  t.equal(code, 1);
  t.equal(out, `${one}${one}`);
  t.match(err, /2 lines of/);
});

await t.test('export: a reader that is slow, one that leaves, a disk that is full', async (t) => {
  const { lines } = threeDays();
  const big = join(t.testdir(), 'big.jsonl');
  const many = lines.join('').repeat(200);
  writeFileSync(big, many);
  let pending = 0;
  let most = 0;
  let got = 0;
  const slow = new Writable({
    highWaterMark: 64 * 1024,
    write(chunk: Buffer, _encoding, done) {
      pending = slow.writableLength;
      most = Math.max(most, pending);
      got += chunk.length;
      setImmediate(done);
    },
  });
  const nobody = new Writable({ write: (_chunk, _encoding, done) => done() });
  t.equal(await runAudit(['export', big, '--since', '1970-01-01'], { stdout: slow, stderr: nobody }), 0);
  t.equal(got, Buffer.byteLength(many));
  t.ok(most < 2 ** 20, `${most} bytes wait for a slow reader`);

  const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
  const shell = (command: string): { status: number | null; stderr: string } =>
    spawnSync('bash', ['-c', `set -o pipefail; "$0" "$1" audit ${command}`, process.execPath, main, big], {
      encoding: 'utf8',
    });
  for (const what of ['export "$2" --since 1970-01-01', 'tail "$2"', 'tail --json "$2"']) {
    const { status, stderr } = shell(`${what} | head -c 100 > /dev/null`);
    t.equal(status, 0, stderr);
    t.equal(stderr, '');
  }
  const full = shell('export "$2" --since 1970-01-01 > /dev/full');
  t.equal(full.status, 1);
  t.match(full.stderr, /^breakwater audit: the output cannot be written: ENOSPC.*\n$/);
});

await t.test('tail: every kind of event is readable, and hostile lines are harmless', async (t) => {
  const file = join(t.testdir(), 'all.jsonl');
  writeFileSync(file, RECORDS.map((record) => `${JSON.stringify(record)}\n`).join(''));
  const all = await audit('tail', file);
  t.equal(all.code, 0, all.err);
  t.equal(all.out.trim().split('\n').length, RECORDS.length);
  t.match(
    all.out,
    /ALERT denied \[privileged\] 350 times: 350 calls \(ContainerCreate\) from 10\.20\.0\.7 were/,
  );
  t.match(all.out, /journal repaired: torn 17\n/);
  t.equal((await audit('tail', file, '--event', 'alert')).out.trim().split('\n').length, 5);
  t.equal(
    (await audit('tail', file, '--event', 'alert', '--operation', 'ImageBuild')).out.match(/ALERT/g)?.length,
    1,
  );
  t.notMatch(all.out, /\u001b/, 'no colours where there is no terminal');

  const evil = 'x\u001b[2J\u009b2J\u202e\r\u2028';
  const hostile = RECORDS.flatMap((record) => [
    ...Object.keys(record).map((key) => ({ ...record, [key]: null })),
    ...Object.keys(record).map((key) => ({ ...record, [key]: { [evil]: [evil, null] } })),
    { ...record, kind: evil, message: evil, [evil]: evil },
  ]);
  const named = ['constructor', '__proto__', 'toString'].map((event) => ({ event, time: evil }));
  writeFileSync(file, [...hostile, ...named].map((one) => `${JSON.stringify(one)}\n`).join(''));
  for (const args of [
    ['tail', file],
    ['tail', '--json', file],
  ]) {
    const { code, out } = await audit(...args);
    t.equal(code, 0);
    t.equal(out.split('\n').length - 1, hostile.length + 3);
    t.notMatch(out, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e\u2028]/);
  }
});

await t.test('verify: fine, changed, cut', async (t) => {
  const key = join(root, 'key.pem.pub');
  const fine = await audit('verify', journal, '--key', key);
  t.equal(fine.code, 0, fine.out);
  t.match(fine.out, /^ok: records 1 to \d+ \(\d+\), \d+ checkpoints, 0 records behind the last one\n$/);
  t.match((await audit('verify', journal)).out, /signatures not checked/);
  const shipped = join(root, 'shipped.jsonl');
  writeFileSync(shipped, (await audit('tail', journal, '--json', '--event', 'checkpoint')).out);
  t.equal((await audit('verify', journal, '--key', key, '--shipped', shipped)).code, 0);

  const first = join(journal, segmentName(1));
  const text = readFileSync(first, 'utf8');
  writeFileSync(first, text.replace('"verdict":"deny"', '"verdict":"allow"'));
  const changed = await audit('verify', journal, '--key', key);
  t.equal(changed.code, 1);
  t.match(changed.out, /^bad: .*0000000000000001\.jsonl line 2: record 2: its hash is wrong/);
  const json = JSON.parse((await audit('verify', journal, '--json')).out) as { problem: { seq: number } };
  t.equal(json.problem.seq, 2);
  writeFileSync(first, text);
  t.equal((await audit('verify', journal)).code, 0);
});

await t.test('wrong usage', async (t) => {
  for (const [args, message] of [
    [[], /say what to do/],
    [['verfy', 'x'], /there is no "verfy": verify, tail or export/],
    [['verify'], /takes one path/],
    [['tail', 'a', 'b'], /takes one path/],
    [['verify', journal, '--follow'], /verify has no option --follow/],
    [['tail', journal, '--key', 'x'], /tail has no option --key/],
    [['tail', journal, '--verdict', 'maybe'], /"allow" or "deny"/],
    [['tail', journal, '--event', 'alerts'], /--event "alerts" is none; it is one of decision, .*alert/],
    [['tail', journal, '--since', 'yesterday'], /--since "yesterday" is no time; write one such as/],
    [['tail', journal, '--since', '2026-02-30'], /is no time/],
    [['tail', journal, '--since', '2026-02-03T04:05:06'], /is no time/],
    [['tail', journal, '--since', '24'], /is no time/],
    [['tail', journal, '--until', '24hours'], /--until "24hours" is no time/],
    [['export', journal], /export needs --since T/],
    [['tail', journal, '--hazard', 'bi'], /--hazard "bi" is no kind of hazard/],
    [
      ['tail', journal, '--operation', 'ContainerLst'],
      /is none that is known\. Did you mean "ContainerList"/,
    ],
    [['export', join(root, 'none'), '--format', 'xml'], /"xml" is none/],
    [['export', journal, '--since', '1d', '--format', 'xml'], /"xml" is none; it is one of breakwater, ocsf/],
    [['export', journal, '--since', '1d', '--until', '2d'], /nothing lies between them/],
    [['export', journal, '--since', '1d', '--follow'], /export has no option --follow/],
    [['export', '--since', '1d'], /export takes one path/],
  ] as const) {
    const { code, err } = await audit(...args);
    t.equal(code, 2);
    t.match(err, message);
  }
  await t.rejects(
    audit('verify', journal, '--key', join(root, 'none')),
    /the public key cannot be read: .*none/,
  );
  await t.rejects(
    audit('verify', journal, '--shipped', join(root, 'none')),
    /the shipped records cannot be read: .*none/,
  );
  await t.rejects(audit('verify', join(root, 'none')), /none: cannot be read: ENOENT/);
  await t.rejects(audit('verify', join(root, 'audit.jsonl')), /a plain file has no chain to verify/);
  t.match((await audit('--help')).out, /breakwater audit verify\|tail\|export/);
});

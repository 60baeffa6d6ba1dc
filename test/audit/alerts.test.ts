import t, { type Test } from 'tap';
import type { AlertEvent } from '../../src/audit/alert-event.js';
import { withAlerts, type AlertOptions } from '../../src/audit/alerts.js';
import type { EgressEvent } from '../../src/audit/egress-event.js';
import type { AuditEvent, DecisionEvent } from '../../src/audit/event.js';
import { formatEvent } from '../../src/audit/event-line.js';
import type { AuditWriter } from '../../src/audit/writer.js';
import type { IndicatorMatch } from '../../src/intel/indicator.js';
import { until } from '../support/command.js';
import { egress as attempt } from '../support/scene-events.js';

/** A writer that keeps alerts, and counts the rest. */
function recorder(
  t: Test,
  options: Partial<AlertOptions> = {},
): {
  readonly audit: AuditWriter;
  readonly alerts: AlertEvent[];
  readonly fail: () => void;
  readonly others: () => number;
} {
  const alerts: AlertEvent[] = [];
  const stats = { lines: 0, failures: 0, healthy: true };
  let others = 0;
  const writer: AuditWriter = {
    stats,
    record(event) {
      if (event.event === 'alert') alerts.push(event);
      else others += 1;
    },
    flush() {},
    reopen() {},
    close() {},
  };
  const audit = withAlerts(writer, { window: 3_600_000, threshold: 10, keys: 10_000, ...options });
  t.teardown(() => audit.close());
  return { audit, alerts, fail: () => void (stats.failures += 1), others: () => others };
}

let calls = 0;
const denied = (address: string, more: Partial<DecisionEvent> = {}): DecisionEvent => ({
  event: 'decision',
  call: `c-${(calls += 1)}`,
  client: { listener: 'lan', address, port: 4711, certificate: [], tokenSha256: '' },
  sources: ['ci'],
  method: 'POST',
  operation: 'ContainerCreate',
  apiVersion: '1.41',
  params: {},
  facts: {},
  hazards: [],
  verdict: 'deny',
  enforced: true,
  rule: '',
  code: 'no-rule',
  reason: 'no rule allows it',
  rewrites: [],
  policy: 'p1',
  ...more,
});

const sighting = (indicator: string, action: 'block' | 'alert' = 'block'): IndicatorMatch => ({
  hit: { type: 'domain', indicator, action, feed: 'c2', confidence: 90, threat: 'botnet', port: 0 },
  value: indicator,
  where: 'image',
});

const egress = (more: Partial<EgressEvent> = {}): EgressEvent => ({
  ...attempt,
  createdBy: undefined,
  ...more,
});

const many = (count: number, make: (n: number) => AuditEvent, audit: AuditWriter): void => {
  for (let n = 0; n < count; n++) audit.record(make(n));
};

await t.test('nine denials are none, the tenth is an alert; the rest is reported at the close', async (t) => {
  const { audit, alerts, others } = recorder(t);
  many(9, () => denied('10.0.0.1'), audit);
  t.equal(alerts.length, 0);
  audit.record(denied('10.0.0.2'));
  audit.record(denied('10.0.0.1', { code: 'hazard' }));
  t.equal(alerts.length, 0, 'another address and another reason are counted by themselves');
  audit.record(denied('10.0.0.1', { operation: 'ExecStart', hazards: ['privileged'] }));
  t.equal(alerts.length, 1);
  t.match(alerts[0], {
    kind: 'denied',
    action: 'blocked',
    code: 'no-rule',
    client: { listener: 'lan', address: '10.0.0.1', network: '' },
    operations: ['ContainerCreate', 'ExecStart'],
    hazards: ['privileged'],
    sources: ['ci'],
    count: 10,
    addresses: 0,
    message: '10 calls (ContainerCreate, ExecStart) from 10.0.0.1 were denied (no-rule) within 1 h',
  });
  many(40, () => denied('10.0.0.1'), audit);
  t.equal(alerts.length, 1);
  audit.close();
  t.equal(alerts.length, 2);
  t.equal(alerts[1]!.count, 50);
  t.not(alerts[0]!.id, alerts[1]!.id);
  t.equal(others(), 52, 'every record goes through');
});

await t.test('allowed calls are nothing, with permitted hazards too', async (t) => {
  const { audit, alerts } = recorder(t);
  many(100, () => denied('10.0.0.1', { verdict: 'allow', hazards: ['bind:/srv'], code: '' }), audit);
  const ci = { verdict: 'allow', code: '', hazards: ['sequence:build-and-run'] } as const;
  const sequence = { sequence: 'build-and-run', calls: ['a', 'b'], since: 0, why: '' } as const;
  audit.record(denied('10.0.0.1', { ...ci, sequences: [{ ...sequence, action: 'deny' }] }));
  t.equal(alerts.length, 0, 'a trusted source builds and runs');
  audit.record(denied('10.0.0.1', { ...ci, hazards: [], sequences: [{ ...sequence, action: 'alert' }] }));
  t.match(alerts, [{ kind: 'sequence', action: 'observed', hazards: ['sequence:build-and-run'] }]);
});

await t.test('what is worse than a denial is reported at once, once', async (t) => {
  const { audit, alerts } = recorder(t);
  const hit = (name: string): DecisionEvent =>
    denied('10.0.0.1', {
      code: 'hazard',
      hazards: [`indicator:${name}`, 'privileged'],
      indicators: [sighting(name)],
    });
  many(5, () => hit('c2.example'), audit);
  audit.record(hit('other.example'));
  t.equal(alerts.length, 1);
  t.match(alerts[0], { kind: 'indicator', count: 1, hazards: ['indicator:c2.example', 'privileged'] });
  // Listed with the action "alert": the call passed.
  audit.record(
    denied('10.0.0.1', { verdict: 'allow', code: '', indicators: [sighting('b.example', 'alert')] }),
  );
  t.match(alerts[1], { kind: 'indicator', action: 'observed', count: 1 });
  audit.record(denied('10.0.0.1', { code: 'hazard', hazards: ['sequence:build-and-run'] }));
  t.match(alerts[2], { kind: 'sequence', hazards: ['sequence:build-and-run'] });
  audit.record(denied('10.0.0.1', { code: 'hazard', hazards: ['sequencer:x', 'indicators'] }));
  t.equal(alerts.length, 3, 'a name that only begins like it');
  audit.record(egress());
  t.match(alerts[3], {
    kind: 'egress',
    action: 'blocked',
    container: { name: 'job' },
    count: 3,
    message: 'container job tried to reach 198.51.100.9 3 times, blocked within 1 h',
  });
  audit.record(egress({ kind: 'response', action: 'pause' }));
  audit.record(egress({ kind: 'notice', indicator: '' }));
  audit.record(egress({ via: 'policy', indicator: '' }));
  t.equal(alerts.length, 4);
  audit.record(egress({ via: 'policy', indicator: '', count: 7 }));
  t.match(alerts[4], { kind: 'egress', code: 'policy', count: 10, indicators: [] });
  audit.close();
  t.match(alerts[5], { kind: 'indicator', count: 6, indicators: [{}, {}] });
  t.equal(alerts.length, 6);
});

await t.test('records that could not be written', async (t) => {
  const { audit, alerts, fail } = recorder(t);
  audit.record(denied('10.0.0.1'));
  fail();
  fail();
  audit.record(denied('10.0.0.1'));
  t.match(alerts, [{ kind: 'audit', count: 2, client: undefined }]);
  audit.record(denied('10.0.0.1'));
  t.equal(alerts.length, 1);
});

await t.test('the window ends: reported once with the total, quiet ones end', async (t) => {
  const { audit, alerts } = recorder(t, { window: 200 });
  many(500, () => denied('10.0.0.1'), audit);
  t.equal(alerts.length, 1);
  t.ok(await until(() => alerts.length > 1, 5_000, 10));
  t.match(alerts[1], { count: 500, window: 200 });
  // It goes on: reported at the end of each window.
  many(3, () => denied('10.0.0.1'), audit);
  t.equal(alerts.length, 2);
  t.ok(await until(() => alerts.length > 2, 5_000, 10));
  t.equal(alerts[2]!.count, 3);
  // A window in which nothing happens ends it: the next ones are counted anew.
  await new Promise((resolve) => setTimeout(resolve, 600));
  many(9, () => denied('10.0.0.1'), audit);
  t.equal(alerts.length, 3);
});

await t.test('denials that are too few in each window never add up', async (t) => {
  const { audit, alerts } = recorder(t, { window: 50 });
  for (let round = 0; round < 3; round++) {
    many(9, () => denied('10.0.0.1'), audit);
    await new Promise((resolve) => setTimeout(resolve, 80));
  }
  t.equal(alerts.length, 0);
});

await t.test('IPv6: a /64 is one', async (t) => {
  const { audit, alerts } = recorder(t);
  many(100, (n) => denied(`2001:db8:1:2:${n}::1`), audit);
  t.match(alerts, [{ count: 10, client: { network: '2001:db8:1:2::/64' }, addresses: 0 }]);
});

await t.test('a scanner that changes its address cannot flood the receiver', async (t) => {
  for (const make of [
    (n: number) => denied(`10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`),
    (n: number) => denied(`2001:db8:${n.toString(16)}:1::1`),
    (n: number) =>
      denied(`10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, {
        hazards: ['indicator:c2.example'],
        indicators: [sighting('c2.example')],
      }),
  ]) {
    const { audit, alerts } = recorder(t);
    many(50_000, make, audit);
    audit.close();
    t.ok(alerts.length >= 2 && alerts.length <= 11, `${alerts.length} alerts`);
    const last = alerts.at(-1)!;
    t.equal(last.count, 50_000);
    t.equal(last.client, undefined);
    t.equal(last.addresses, 10_000, 'counted up to `keys`');
    t.match(last.message, /from at least 10000 addresses/);
  }
});

await t.test('twelve addresses, each of them hammering: nine alerts, then one for all', async (t) => {
  const { audit, alerts } = recorder(t);
  for (let n = 1; n <= 12; n++) many(30, () => denied(`10.0.0.${n}`), audit);
  t.equal(alerts.length, 10);
  t.match(alerts[9], { addresses: 10, client: undefined, count: 271 });
  audit.close();
  t.match(alerts.at(-1), { addresses: 12, count: 360 }, 'all of them are in the sum');
});

await t.test('a key that is dropped for others is reported first', async (t) => {
  const { audit, alerts } = recorder(t, { keys: 5 });
  many(15, () => denied('10.0.0.1'), audit);
  t.equal(alerts.length, 1);
  for (let n = 0; n < 6; n++) audit.record(denied('10.0.0.9', { code: `c${n}` }));
  t.match(alerts[1], { count: 15, client: { address: '10.0.0.1' } });
  audit.close();
  t.equal(alerts.length, 2);
});

await t.test('a million keys take no more room than `keys`, and no hostile text stays', async (t) => {
  const { audit, alerts, others } = recorder(t);
  const long = 'x'.repeat(20_000);
  const before = process.memoryUsage().heapUsed;
  many(
    1_000_000,
    (n) =>
      denied(`10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, {
        hazards: n % 100 === 0 ? [`bind:/${long}${n}`, `indicator:${long}${n}`] : [],
        indicators: n % 100 === 0 ? [sighting(`i${n % 20}.example`)] : [],
      }),
    audit,
  );
  const grown = (process.memoryUsage().heapUsed - before) / 2 ** 20;
  t.equal(others(), 1_000_000);
  t.ok(alerts.length < 30, `${alerts.length} alerts`);
  t.ok(grown < 150, `${Math.round(grown)} MiB`);
  const longest = Math.max(...alerts.map((alert) => formatEvent(alert).length));
  t.ok(longest < 10_000, `the longest line has ${longest} bytes`);
});

await t.test('what an attacker chooses is escaped and cut', async (t) => {
  const { audit, alerts } = recorder(t, { threshold: 1 });
  const evil = `"},\r\n\u202e\u2028\u001b[2J${'y'.repeat(5000)}`;
  audit.record(
    denied(evil, {
      hazards: [`sequence:${evil}`, `bind:${evil}`],
      indicators: [sighting(evil)],
      sources: [evil],
      rule: evil,
    }),
  );
  const line = formatEvent(alerts[0]!, Date.UTC(2026, 0, 2, 3, 4, 5, 678));
  t.equal(line.indexOf('\n'), line.length - 1);
  t.notMatch(line, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e\u2028]/);
  t.match(JSON.parse(line), { event: 'alert', kind: 'sequence', count: 1 });
  t.ok(line.length < 20_000);
});

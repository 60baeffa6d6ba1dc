import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withAlerts } from '../../src/audit/alerts.js';
import type { DecisionEvent } from '../../src/audit/event.js';
import type { EgressEvent } from '../../src/audit/egress-event.js';
import { openAuditWriter } from '../../src/audit/writer.js';
import { decision, egress, hit } from './scene-events.js';

const from = (address: string, more: Partial<DecisionEvent> = {}): DecisionEvent => ({
  ...decision,
  client: { ...decision.client, address },
  ...more,
});
const times = <T>(count: number, make: (n: number) => T): T[] =>
  Array.from({ length: count }, (_, n) => make(n));

/** What the alerts are made of; `failures`: writes of the trail that failed meanwhile. */
export const ALERTS: Readonly<
  Record<
    | 'alert of denials'
    | 'alert of many addresses'
    | 'alert of unreadable requests'
    | 'alert of an indicator'
    | 'alert of a sequence'
    | 'alert of outbound attempts'
    | 'alert of a trail that fails',
    { readonly events: readonly (DecisionEvent | EgressEvent)[]; readonly failures?: number }
  >
> = {
  'alert of denials': {
    events: times(12, (n) =>
      from('10.20.0.7', n % 2 === 0 ? { hazards: ['privileged'] } : { operation: 'ImageBuild' }),
    ),
  },
  'alert of many addresses': { events: times(12, (n) => from(`10.20.0.${n}`)) },
  'alert of unreadable requests': {
    events: times(10, () => from('10.20.0.7', { operation: '', code: 'path-character' })),
  },
  'alert of an indicator': {
    events: [
      from('2001:db8::7', {
        verdict: 'allow',
        code: 'allowed',
        indicators: [{ hit, value: 'watch.example', where: '/Cmd/2' }],
      }),
    ],
  },
  'alert of a sequence': { events: [from('10.20.0.7', { hazards: ['sequence:build-and-run'] })] },
  'alert of outbound attempts': { events: [egress] },
  'alert of a trail that fails': { events: [from('10.20.0.7')], failures: 2 },
};

/** The alerts that a guard writes of them, as lines; what they are made of stands in other scenes. */
export function alertLines(name: keyof typeof ALERTS): string[] {
  const directory = mkdtempSync(join(tmpdir(), 'bw-alerts-'));
  try {
    const file = join(directory, 'audit.jsonl');
    const writer = openAuditWriter(file);
    const audit = withAlerts(writer, { window: 300_000, threshold: 10, keys: 10_000 });
    const { events, failures = 0 } = ALERTS[name];
    writer.stats.failures += failures;
    for (const event of events) audit.record(event);
    audit.close();
    return readFileSync(file, 'utf8')
      .trimEnd()
      .split('\n')
      .filter((line) => line.startsWith('{"v":1,"event":"alert"'));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

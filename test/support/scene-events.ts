import type { EgressEvent } from '../../src/audit/egress-event.js';
import type { DecisionEvent } from '../../src/audit/event.js';

/** Events of the scenes that are not played: what needs time, a packet filter or a broken disk to come about. */
export const decision: DecisionEvent = {
  event: 'decision',
  call: 'call-1',
  client: { listener: 'lan', address: '10.20.0.7', port: 4711, certificate: ['CN=ci'], tokenSha256: '' },
  sources: ['ci'],
  method: 'POST',
  operation: 'ContainerCreate',
  apiVersion: '1.41',
  params: {},
  facts: { image: 'app:latest' },
  hazards: [],
  verdict: 'deny',
  enforced: true,
  rule: 'ci',
  code: 'hazard',
  reason: 'rule ci does not permit it',
  rewrites: [],
  policy: 'p1',
};
export const egress: EgressEvent = {
  event: 'egress',
  id: 'e1',
  kind: 'attempt',
  action: 'blocked',
  via: 'address',
  address: '172.17.0.2',
  container: { id: 'abc123', name: 'job', image: 'app:latest' },
  createdBy: { call: 'call-1', operation: 'ContainerCreate', sources: ['ci'], client: '10.20.0.7' },
  destination: '198.51.100.9',
  name: '',
  protocol: 'tcp',
  port: 4444,
  count: 3,
  first: '2026-01-02T03:04:01.000Z',
  last: '2026-01-02T03:04:05.000Z',
  indicator: '198.51.100.9',
  type: 'ipv4',
  feed: 'c2',
  confidence: 90,
  threat: 'botnet_cc',
  message: '',
};
export const unlisted = { indicator: '', type: '', feed: '', confidence: 0, threat: '' } as const;
export const hit = {
  type: 'domain',
  indicator: 'watch.example',
  action: 'alert',
  feed: 'scanners',
  confidence: 40,
  threat: '',
  port: 0,
} as const;

/** What needs time, a packet filter or a broken disk to come about: written by the real formatter. */
export const EVENTS = {
  'indicator that only alerts': {
    ...decision,
    verdict: 'allow',
    code: 'allowed',
    indicators: [{ hit, value: 'watch.example', where: '/Cmd/2' }],
  },
  'outbound attempt': egress,
  'outbound sweep': {
    ...egress,
    kind: 'sweep',
    action: '',
    via: 'dns',
    destination: '',
    name: 'c2.example',
    indicator: 'c2.example',
    type: 'domain',
  },
  'outbound response': { ...egress, kind: 'response', action: 'pause', message: 'the container was paused' },
  'outbound notice': { ...egress, ...unlisted, kind: 'notice', action: '', message: 'the rules were lost' },
  'outbound to what is not listed': { ...egress, ...unlisted, via: 'policy' },
} as const satisfies Readonly<Record<string, DecisionEvent | EgressEvent>>;

/** As `sequences` of a decision has them. */
export interface FoundSequence {
  readonly sequence: string;
  readonly action: 'deny' | 'alert';
  readonly calls: readonly string[];
  readonly since: string;
}

/** A decision that completes an attack in several calls: denied for it, or on record only. */
const completes = (
  sequence: string,
  action: FoundSequence['action'],
  more: Partial<DecisionEvent>,
): { readonly event: DecisionEvent; readonly found: readonly FoundSequence[] } => {
  const hazards =
    action === 'deny' ? [`sequence:${sequence}`, ...(more.hazards ?? [])] : (more.hazards ?? []);
  const allowed = { verdict: 'allow', code: 'allowed', reason: '' } as const;
  return {
    event: { ...decision, ...(action === 'alert' && allowed), ...more, hazards },
    found: [{ sequence, action, calls: ['call-7', 'call-8'], since: '2026-01-02T03:01:05.000Z' }],
  };
};
const list = { operation: 'ContainerList', method: 'GET', facts: {} } as const;
const exec = { operation: 'ContainerExec', facts: {} } as const;

export const SEQUENCES = {
  'sequence:build-and-run': completes('build-and-run', 'deny', {}),
  'sequence:probing': completes('probing', 'deny', list),
  'sequence:pull-and-escape': completes('pull-and-escape', 'deny', { hazards: ['bind:/etc'] }),
  'sequence:exec-spread': completes('exec-spread', 'deny', exec),
  'sequence:build-and-run that only alerts': completes('build-and-run', 'alert', {}),
  'sequence:probing that only alerts': completes('probing', 'alert', list),
  'sequence:pull-and-escape that only alerts': completes('pull-and-escape', 'alert', {
    hazards: ['bind:/etc'],
  }),
  'sequence:exec-spread that only alerts': completes('exec-spread', 'alert', exec),
} as const;

/** The line of a decision with the sequences where they stand in it: before the verdict. */
export const withSequences = (line: string, found: readonly FoundSequence[]): string =>
  line.replace('"verdict":"', `"sequences":${JSON.stringify(found)},"verdict":"`);

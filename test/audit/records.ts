import { egress as attemptEvent } from '../support/scene-events.js';

/** One record of every kind, with fixed times and ids: the golden files are made from them. */
const line = (seq: number, event: string, rest: object): Readonly<Record<string, unknown>> => ({
  seq,
  hash: '0'.repeat(64),
  v: 1,
  event,
  time: `2026-01-02T03:04:${String(seq).padStart(2, '0')}.678Z`,
  id: `record-${seq}`,
  ...rest,
});

const decision = {
  call: 'call-1',
  client: { listener: 'lan', address: '10.20.0.7', port: 4711, certificate: ['CN=ci'] },
  sources: ['ci', 'builders'],
  method: 'POST',
  operation: 'ContainerCreate',
  apiVersion: '1.41',
  params: { name: 'job' },
  facts: { image: 'registry.example/app:1', privileged: true },
  hazards: [],
  verdict: 'allow',
  enforced: true,
  rule: 'ci/run',
  code: '',
  reason: '',
  rewrites: [],
  policy: 'p1',
};
const denied = {
  ...decision,
  verdict: 'deny',
  rule: '',
  code: 'hazard',
  hazards: ['privileged', 'docker-socket'],
  reason: 'no rule permits privileged',
};
const indicator = {
  indicator: 'c2.example',
  type: 'domain',
  feed: 'local',
  confidence: 90,
  threat: 'botnet_cc',
};
const sequence = {
  sequence: 'build-and-run',
  action: 'deny',
  calls: ['call-0', 'call-1'],
  since: '2026-01-02T03:02:01.000Z',
};
const { event: _event, id: _id, ...attempt } = attemptEvent;
const egress = {
  ...attempt,
  container: { ...attempt.container, image: 'registry.example/app:1' },
  ...indicator,
  indicator: attempt.indicator,
  type: attempt.type,
};
const nothing = { action: '', via: '', indicator: '', type: '', feed: '', confidence: 0, threat: '' };

const alerted = {
  count: 350,
  first: '2026-01-02T03:00:00.000Z',
  last: '2026-01-02T03:04:15.000Z',
  window: 300_000,
};

export const RECORDS: readonly Readonly<Record<string, unknown>>[] = [
  line(1, 'segment', { journal: 'j1', previous: '' }),
  line(2, 'decision', decision),
  line(3, 'decision', denied),
  line(4, 'decision', { ...denied, enforced: false }),
  line(5, 'decision', {
    ...denied,
    operation: 'ImageBuild',
    hazards: ['remote-context:https://c2.example/x', 'indicator:c2.example'],
    indicators: [
      { ...indicator, action: 'block', where: 'query remote', value: 'https://c2.example/x' },
      {
        ...indicator,
        indicator: 'feed.example',
        action: 'alert',
        where: 'Dockerfile line 2',
        value: 'feed.example',
      },
    ],
  }),
  line(6, 'decision', {
    ...denied,
    client: { listener: 'local', address: '', port: 0 },
    sources: [],
    method: 'POST',
    operation: '',
    apiVersion: '',
    target: '/../x',
    params: {},
    facts: {},
    hazards: [],
    code: 'path-character',
    reason: 'the path has a dot segment',
  }),
  line(7, 'outcome', {
    call: 'call-1',
    operation: 'ContainerCreate',
    status: 201,
    end: 'complete',
    duration: 12.5,
    bytesIn: 300,
    bytesOut: 88,
  }),
  line(8, 'egress', egress),
  line(9, 'egress', { ...egress, action: 'observed', container: undefined, destination: 'fe80::1%eth0' }),
  line(10, 'egress', { ...egress, kind: 'sweep', action: '', name: 'c2.example', protocol: 'udp', port: 53 }),
  line(11, 'egress', { ...egress, kind: 'response', action: 'pause', message: 'the container was paused' }),
  line(12, 'egress', {
    ...egress,
    ...nothing,
    kind: 'notice',
    container: undefined,
    createdBy: undefined,
    address: '',
    destination: '',
    protocol: '',
    port: 0,
    count: 0,
    message: 'the blocking is in force again',
  }),
  line(13, 'checkpoint', {
    journal: 'j1',
    upTo: 12,
    head: '0'.repeat(64),
    key: '0123456789abcdef',
    signature: 'c2ln',
  }),
  line(14, 'journal', { kind: 'repaired', torn: 17 }),
  line(15, 'alert', {
    kind: 'denied',
    action: 'blocked',
    client: { listener: 'lan', address: '10.20.0.7' },
    sources: ['ci'],
    operation: 'ContainerCreate',
    code: 'hazard',
    hazards: ['privileged'],
    ...alerted,
    message: '350 calls (ContainerCreate) from 10.20.0.7 were denied (hazard) within 5 min',
  }),
  line(16, 'alert', {
    kind: 'indicator',
    action: 'observed',
    client: { listener: 'lan', address: '2001:db8::7', network: '2001:db8::/64' },
    sources: [],
    operation: '',
    operations: ['ContainerCreate', 'ImageBuild'],
    code: '',
    rule: 'ci/run',
    indicators: [{ ...indicator, action: 'alert', where: 'image', value: 'c2.example' }],
    ...alerted,
    message:
      '350 calls (ContainerCreate, ImageBuild) from 2001:db8::/64 named listed indicators (c2.example) and were let through within 5 min',
  }),
  line(17, 'alert', {
    kind: 'sequence',
    action: 'blocked',
    addresses: 40,
    sources: [],
    operation: 'ContainerStart',
    code: 'hazard',
    hazards: ['sequence:build-and-run'],
    ...alerted,
    message:
      '350 calls (ContainerStart) from 40 addresses matched attack sequence build-and-run and were denied within 5 min',
  }),
  line(18, 'alert', {
    kind: 'egress',
    action: 'blocked',
    address: '172.17.0.2',
    container: egress.container,
    sources: ['ci'],
    operation: '',
    code: 'address',
    indicators: [
      {
        ...indicator,
        indicator: '198.51.100.9',
        type: 'ipv4',
        action: 'block',
        where: 'outbound',
        value: '198.51.100.9',
      },
    ],
    ...alerted,
    message: 'container job tried to reach 198.51.100.9 350 times, blocked within 5 min',
  }),
  line(19, 'alert', {
    kind: 'audit',
    sources: [],
    operation: '',
    code: 'audit',
    ...alerted,
    message: '350 records of the audit trail could not be written in time within 5 min',
  }),
  // As a decision is written that completes an attack in several calls.
  line(20, 'decision', {
    ...denied,
    hazards: ['sequence:build-and-run'],
    sequences: [sequence],
    reason: 'no rule permits sequence:build-and-run',
  }),
  line(21, 'decision', {
    ...decision,
    indicators: [{ ...indicator, action: 'alert', where: 'image', value: 'c2.example' }],
    sequences: [
      { ...sequence, action: 'alert' },
      { sequence: 'pull-and-escape', action: 'alert', calls: ['call-3'], since: '2026-01-02T03:03:01.000Z' },
    ],
  }),
  line(22, 'journal', { kind: 'repaired', torn: 0, damage: 'line 7 does not follow the record before it' }),
  line(23, 'journal', { kind: 'removed', upTo: 9, undelivered: 4 }),
  line(24, 'journal', { kind: 'recovered', late: 3, lost: 2 }),
].map((record) => JSON.parse(JSON.stringify(record)) as Readonly<Record<string, unknown>>);

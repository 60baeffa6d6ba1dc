import { asObject, asStrings, type JsonValue } from '../base/json.js';
import { addHazard, type Findings } from './inspection.js';

/**
 * What a number, a count or a pattern may be before it is the hazard `engine-load`. The memory, the processor time and
 * the disk that these take are the daemon's own: no limit of a container holds them.
 */
export interface Bound {
  /** The smallest and the largest value that is no hazard. */
  readonly least?: number;
  readonly most?: number;
  /** How the value is written in the argument; numbers of the API are in nanoseconds, seconds or bytes. */
  readonly unit: '' | 'ms' | 's' | 'bytes';
  /** What it costs the engine, and where moby does it. */
  readonly costs: string;
  /** What ordinary calls have. */
  readonly ordinary: string;
}

/** Order: numbers of containers, of services and clusters, counts, texts, patterns. */
export const BOUNDS = {
  'health-interval': {
    least: 500,
    unit: 'ms',
    costs:
      'For each probe the daemon has containerd and runc start a process, at the host’s expense (daemon/health.go); it takes 1 ms.',
    ordinary: '5 s to 30 s, 1 s at the least',
  },
  'stop-timeout': {
    least: 0,
    most: 86_400,
    unit: 's',
    costs:
      'The daemon’s own shutdown waits as long as the longest of them, and for ever with -1 (daemon.go, ShutdownTimeout).',
    ordinary: '10 s to an hour',
  },
  'cpu-shares': {
    most: 16_384,
    unit: '',
    costs:
      'A weight against what runs beside the container, with cgroups by systemd the daemon itself (default 1024, the kernel takes 262144).',
    ordinary: '512 to 4096',
  },
  replicas: {
    most: 1_000,
    unit: '',
    costs:
      'A manager makes an object in memory and in its log for each task, up to 2⁶³ (swarmkit manager/orchestrator).',
    ordinary: 'below 100',
  },
  'restart-delay': {
    least: 500,
    unit: 'ms',
    costs:
      'Tasks that fail at once are made anew at once, each with entries in the log of the managers (swarmkit orchestrator/restart).',
    ordinary: '5 s, the default, or more',
  },
  heartbeat: {
    least: 1_000,
    unit: 'ms',
    costs: 'Every node calls a manager so often (swarmkit manager/dispatcher).',
    ordinary: '5 s, the default, or more',
  },
  'task-history': {
    least: 0,
    most: 100,
    unit: '',
    costs: 'Managers keep so many ended tasks for each slot, all with a negative number.',
    ordinary: '5, the default, or less',
  },
  'raft-snapshots': {
    least: 1_000,
    unit: '',
    costs: 'After so many entries a manager writes its whole state to disk (swarmkit state/raft).',
    ordinary: '10000, the default',
  },
  'raft-kept': {
    most: 100_000,
    unit: '',
    costs: 'Managers keep so many entries, or whole snapshots, of their log (swarmkit state/raft).',
    ordinary: '500, the default for entries; 0 for snapshots',
  },
  'swarm-subnets': {
    most: 65_536,
    unit: '',
    costs: 'The pools of the cluster are listed in memory, subnet by subnet (libnetwork ipamutils).',
    ordinary: '65536, of the default 10.0.0.0/8 in /24',
  },
  volumes: {
    most: 100,
    unit: '',
    costs:
      'Each is a directory and a transaction on disk before the create answers, anonymous volumes too (volume/service/store.go).',
    ordinary: 'below 20',
  },
  published: {
    most: 256,
    unit: '',
    costs:
      'Each is a process of its own and several calls of iptables on the host (libnetwork portmapper); a range of 10,000 stops an engine.',
    ordinary: 'below 20',
  },
  networks: {
    most: 64,
    unit: '',
    costs: 'Each is a pair of interfaces and rules on the host, made while the container is locked.',
    ordinary: 'below 10',
  },
  aliases: {
    most: 256,
    unit: '',
    costs: 'Each is a record in the daemon’s own DNS server, on every network it is for.',
    ordinary: 'below 10',
  },
  'aux-addresses': {
    most: 256,
    unit: '',
    costs: 'Each is a search in the list of taken addresses, and a transaction on disk (libnetwork ipam).',
    ordinary: 'none, or below 10',
  },
  'address-pools': {
    most: 16,
    unit: '',
    costs: 'Each takes a subnet of the engine’s pools, of which there are 31 by default.',
    ordinary: '1 or 2',
  },
  entries: {
    most: 1_000,
    unit: '',
    costs: 'The daemon keeps each in memory twice and on disk, and shows it in every list and event.',
    ordinary: 'below 100',
  },
  text: {
    most: 512 * 1024,
    unit: 'bytes',
    costs: 'The daemon keeps it in memory twice and on disk, and shows labels in every list and event.',
    ordinary: 'below 32 KiB; Linux starts nothing with a variable of more than 128 KiB',
  },
  instructions: {
    most: 1_000,
    unit: '',
    costs:
      'The classic builder stores an image for each, with the history of all before it: memory and disk grow by the square.',
    ordinary: 'below 200',
  },
  'name-filter': {
    most: 20_000,
    unit: '',
    costs:
      'A name or an id is compared as a regular expression that is compiled anew for each object: `a{1000}` is a thousand states (api/types/filters, Match). The value is the number of states.',
    ordinary: 'below 1000: names of containers, `[0-9a-f]{64}`',
  },
} as const satisfies Readonly<Record<string, Bound>>;

export type BoundName = keyof typeof BOUNDS;

/** Raises the hazard when a value is out of its bound. In the unit of the table. */
export function checkBound(name: BoundName, value: number, findings: Findings): void {
  const { least = -Infinity, most = Infinity, unit }: Bound = BOUNDS[name];
  if (value < least || value > most)
    addHazard(findings, 'engine-load', `${name}=${value}${unit === 'bytes' ? '' : unit}`);
}

/** Go refuses more repetitions than this, one in another (regexp/syntax/parse.go), not one after the other. */
const MAX_REPETITIONS = 1_000;

/** How many states Go's regexp makes of a pattern, at most. */
export function patternStates(pattern: string): number {
  let repetitions = 1;
  for (const [, least = '', most = ''] of pattern.matchAll(/\{(\d+),?(\d*)\}/g)) {
    repetitions *= Math.max(1, Number(least), Number(most));
    if (repetitions >= MAX_REPETITIONS) return pattern.length * MAX_REPETITIONS;
  }
  return pattern.length * repetitions;
}

/** The filters that handlers compare as regular expressions: containers, networks and volumes by name or id. */
const PATTERN_FILTERS = ['name', 'id'] as const;

/** The `filters` of a list, a prune or of events. Others are compared as they are, in time by their length. */
export function inspectFilters(filters: JsonValue, findings: Findings): void {
  let states = 0;
  for (const key of PATTERN_FILTERS) {
    const values = asObject(filters)[key];
    const patterns = Array.isArray(values) ? asStrings(values) : Object.keys(asObject(values));
    for (const pattern of patterns) states += patternStates(pattern);
  }
  checkBound('name-filter', states, findings);
}

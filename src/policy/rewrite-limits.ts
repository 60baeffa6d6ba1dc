import { isBefore } from '../docker/call.js';
import type { Traits } from '../docker/catalogue/traits.js';
import type { Operation } from '../docker/operation.js';
import { parseSize } from '../base/units.js';
import { asNumber } from '../base/json.js';
import { queryNumber } from '../hazards/call-values.js';
import type { ReportAt } from './compile-rule.js';
import { fieldOf, putField, putQuery, type Draft, type Step } from './rewrite-draft.js';
import type { RewriteShape } from './rewrite-schema.js';

/** Upper bounds; 0: none. */
interface Bounds {
  readonly memory: number;
  readonly swap: number;
  readonly nanos: number;
  readonly pids: number;
}

/** The kernel's period of CPU quotas when none is given, in microseconds. */
const PERIOD = 100_000;

/** The amounts of one call, wherever the operation keeps them. */
interface Amounts {
  get(name: string): number;
  has(name: string): boolean;
  /** Undefined removes it. */
  put(name: string, value: number | undefined): void;
}

function body(draft: Draft, at: readonly string[], has: (name: string) => boolean): Amounts {
  return {
    get: (name) => asNumber(fieldOf(draft, ...at, name)),
    has,
    put: (name, value) => putField(draft, [...at, name], value),
  };
}

function outside(value: number, bound: number): boolean {
  return value <= 0 || value > bound;
}

/** Sets `name` to the bound when it is absent, unlimited or larger. */
function cap(amounts: Amounts, name: string, bound: number): void {
  if (bound > 0 && outside(amounts.get(name), bound)) amounts.put(name, bound);
}

/**
 * Memory and swap together. 0 is twice the memory to the engine (daemon/daemon_unix.go, adaptContainerSettings), -1 no
 * limit. Never more than the call would have had.
 */
function capSwap(amounts: Amounts, memory: string, swap: string, bound: number): void {
  if (bound === 0) return;
  const given = amounts.get(swap);
  const effective = given === 0 ? 2 * amounts.get(memory) : given;
  if (outside(effective, bound)) amounts.put(swap, bound);
}

/** Quota of a period; a period that is not given is the kernel's. */
function capQuota(amounts: Amounts, period: string, quota: string, nanos: number): void {
  const length = amounts.get(period) > 0 ? amounts.get(period) : PERIOD;
  const most = Math.floor((nanos * length) / 1e9);
  if (outside(amounts.get(quota), most)) amounts.put(quota, most);
}

/** The engine refuses NanoCpus beside a quota or a period, so a call keeps to the form it has. */
function capCpus(amounts: Amounts, nanos: number): void {
  if (nanos === 0) return;
  const asQuota = amounts.get('CpuQuota') > 0 || amounts.get('CpuPeriod') > 0;
  if (asQuota) capQuota(amounts, 'CpuPeriod', 'CpuQuota', nanos);
  if (!asQuota || amounts.get('NanoCpus') !== 0) cap(amounts, 'NanoCpus', nanos);
  if (amounts.get('CpuQuota') < 0) amounts.put('CpuQuota', undefined);
}

function limitCreate(draft: Draft, at: readonly string[], bounds: Bounds): void {
  const amounts = body(draft, at, () => true);
  cap(amounts, 'Memory', bounds.memory);
  capSwap(amounts, 'Memory', 'MemorySwap', bounds.swap);
  capCpus(amounts, bounds.nanos);
  cap(amounts, 'PidsLimit', bounds.pids);
}

/**
 * An update changes what it names: 0 or nothing leaves an amount as it is, except for PidsLimit, where 0 is no limit. What
 * the container has is not known here, so a quota always goes with its period: the old quota in a shorter period, or
 * a new one in the old period, may be any share.
 */
function limitUpdate(draft: Draft, at: readonly string[], bounds: Bounds): void {
  const amounts = body(draft, at, (name) => (fieldOf(draft, ...at, name) ?? null) !== null);
  if (amounts.get('Memory') !== 0) cap(amounts, 'Memory', bounds.memory);
  if (amounts.get('MemorySwap') !== 0) capSwap(amounts, 'Memory', 'MemorySwap', bounds.swap);
  if (bounds.nanos > 0 && (amounts.get('CpuQuota') !== 0 || amounts.get('CpuPeriod') !== 0)) {
    if (amounts.get('CpuPeriod') <= 0) amounts.put('CpuPeriod', PERIOD);
    capQuota(amounts, 'CpuPeriod', 'CpuQuota', bounds.nanos);
  }
  if (amounts.get('NanoCpus') !== 0) cap(amounts, 'NanoCpus', bounds.nanos);
  if (amounts.has('PidsLimit')) cap(amounts, 'PidsLimit', bounds.pids);
}

function limitBuild(draft: Draft, bounds: Bounds): void {
  const amounts: Amounts = {
    get: (name) => queryNumber(draft.next, name),
    has: () => true,
    put: (name, value) =>
      putQuery(draft, name, value === undefined ? undefined : { type: 'integer', value: BigInt(value) }),
  };
  cap(amounts, 'memory', bounds.memory);
  capSwap(amounts, 'memory', 'memswap', bounds.swap);
  if (bounds.nanos > 0) {
    if (amounts.get('cpuperiod') <= 0) amounts.put('cpuperiod', PERIOD);
    capQuota(amounts, 'cpuperiod', 'cpuquota', bounds.nanos);
  }
}

function limitService(draft: Draft, at: readonly string[], bounds: Bounds): void {
  const amounts = body(draft, at, () => true);
  cap(amounts, 'MemoryBytes', bounds.memory);
  cap(amounts, 'NanoCPUs', bounds.nanos);
  // The engine drops it from calls of older versions (daemon/server/router/swarm/helpers.go, adjustForAPIVersion).
  if (bounds.pids > 0 && isBefore(draft.next, 41)) draft.conflict = 'services have no "pids" below API 1.41';
  cap(amounts, 'Pids', bounds.pids);
}

function limitOf({ limitedAt, builds, updates, runs }: Traits): (draft: Draft, bounds: Bounds) => void {
  if (builds !== undefined) return limitBuild;
  const at = limitedAt as readonly string[];
  if (updates === 'container') return (draft, bounds) => limitUpdate(draft, at, bounds);
  return runs === 'service'
    ? (draft, bounds) => limitService(draft, at, bounds)
    : (draft, bounds) => limitCreate(draft, at, bounds);
}

/** `limits`: upper bounds on what containers, builds and services may use. */
export function prepareLimits(
  limits: NonNullable<RewriteShape['limits']>,
  report: ReportAt,
): (operation: Operation) => Step {
  const size = (key: 'memory' | 'memorySwap'): number => {
    const bytes = limits[key] === undefined ? 0 : parseSize(limits[key]);
    if (bytes === undefined) report([key], 'this is more than a size can be; at most 8191TiB.');
    return bytes ?? 0;
  };
  const memory = size('memory');
  const swap = size('memorySwap');
  if (memory > 0 && memory < 6 * 2 ** 20) {
    report(['memory'], 'engines refuse less than 6MiB of memory; give "6MiB" or more.');
  }
  if (swap > 0 && memory === 0) report(['memorySwap'], 'memorySwap needs memory beside it.');
  if (swap > 0 && swap < memory) {
    report(['memorySwap'], 'memorySwap is memory and swap together, so it cannot be less than memory.');
  }
  const bounds: Bounds = {
    memory,
    swap: swap > 0 ? swap : 2 * memory,
    nanos: Math.round((limits.cpus ?? 0) * 1e9),
    pids: limits.pids ?? 0,
  };
  return ({ does }) => {
    const limit = limitOf(does);
    return (draft) => limit(draft, bounds);
  };
}

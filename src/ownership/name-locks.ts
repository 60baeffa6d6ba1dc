import { setTimeout as sleep } from 'node:timers/promises';
import type { Call, Reference } from '../docker/call.js';
import { Refusal } from '../docker/refusal.js';
import { shortImageName } from '../hazards/image-name.js';
import { bodyText } from '../hazards/call-values.js';

/**
 * A name that a call depends on, such as `volume:data`. `shared`: calls of all owners may hold it at once. `owner`: calls of one
 * owner may hold it at once. `exclusive`: only this call.
 */
export interface NameLock {
  readonly name: string;
  readonly mode: 'shared' | 'owner' | 'exclusive';
}

/** Names that calls hold, from their judgement to their end. */
export interface NameLocks {
  /**
   * Waits until no other owner's call is in the way, and holds the names until the function it returns is called.
   *
   * @throws Refusal 409 after some seconds.
   */
  hold(locks: readonly NameLock[], owner: string): Promise<() => void>;
  /** Names that are held, for tests and metrics. */
  readonly size: number;
}

const LOCK_TIMEOUT_MS = 5_000;
const RETRY_INTERVAL_MS = 20;
/** Whole ids need no lock: no other object can get the same one. */
const WHOLE_ID = /^(?:sha256:)?[0-9a-f]{64}$/;

/**
 * Volumes and tags have no id that a call could give in place of their name, and an engine looks a network up by name
 * when a container starts. So between judging a name and the engine's answer no other owner may remove it, make it,
 * or let it stand for something else. Calls of one owner do not wait for each other: it can only harm itself.
 */
export function openNameLocks(): NameLocks {
  const held = new Map<string, Set<{ readonly mode: NameLock['mode']; readonly owner: string }>>();
  const isFree = ({ name, mode }: NameLock, owner: string): boolean => {
    for (const holder of held.get(name) ?? []) {
      if (mode === 'exclusive' || holder.mode === 'exclusive') return false;
      if (holder.owner !== owner && (mode === 'owner' || holder.mode === 'owner')) return false;
    }
    return true;
  };
  return {
    get size() {
      return held.size;
    },
    async hold(locks, owner) {
      const deadline = performance.now() + LOCK_TIMEOUT_MS;
      // All names are taken at once or none, so that two calls never wait for each other (no deadlock).
      for (;;) {
        const busy = locks.find((lock) => !isFree(lock, owner));
        if (busy === undefined) break;
        if (performance.now() > deadline) {
          throw new Refusal(409, 'busy', `${busy.name} is being changed by another caller; try again`);
        }
        await sleep(RETRY_INTERVAL_MS);
      }
      const holds = locks.map(({ name, mode }) => ({ name, hold: { mode, owner } }));
      for (const { name, hold } of holds) {
        const holders = held.get(name) ?? new Set();
        holders.add(hold);
        held.set(name, holders);
      }
      return () => {
        for (const { name, hold } of holds) {
          const holders = held.get(name);
          holders?.delete(hold);
          if (holders?.size === 0) held.delete(name);
        }
      };
    },
  };
}

/** The names that a call depends on, each once. */
export function locksOf(
  call: Call,
  references: readonly Pick<Reference, 'kind' | 'name' | 'use'>[],
): NameLock[] {
  const { removes, creates, newNameAt } = call.operation.does;
  const locks = references.flatMap(({ kind, name, use }): NameLock[] => {
    if (WHOLE_ID.test(name)) return [];
    if (kind === 'volume')
      return [{ name: `volume:${name}`, mode: removes === 'volume' ? 'exclusive' : 'owner' }];
    const mode = use === 'change' ? 'owner' : 'shared';
    if (kind === 'tag' || kind === 'image') return [{ name: `image:${shortImageName(name)}`, mode }];
    return kind === 'network'
      ? [{ name: `network:${name}`, mode: removes === 'network' ? 'owner' : 'shared' }]
      : [];
  });
  if (creates === 'network' && newNameAt !== undefined) {
    locks.push({ name: `network:${bodyText(call, newNameAt.steps)}`, mode: 'owner' });
  }
  const strictest = new Map<string, NameLock>();
  for (const lock of locks) {
    if (strictest.get(lock.name)?.mode !== 'owner') strictest.set(lock.name, lock);
  }
  return [...strictest.values()];
}

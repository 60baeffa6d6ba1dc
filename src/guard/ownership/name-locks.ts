import { setTimeout as sleep } from 'node:timers/promises';
import type { Call } from '../../docker/call.js';
import { Refusal } from '../../docker/refusal.js';
import { shortImageName } from '../../hazards/image-name.js';
import { asObject, asString } from '../../hazards/judge.js';

/** A name that a call depends on: `volume:data`. `change`: what it stands for is another thing afterwards. */
export interface NameLock {
  readonly name: string;
  readonly mode: 'use' | 'change';
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

const PATIENCE = 5_000;
const LOOK = 20;
/** What no other object can be named later. */
const WHOLE_ID = /^(?:sha256:)?[0-9a-f]{64}$/;

/**
 * Volumes and tags have no id that a call could give in place of their name, and an engine looks a network up by name
 * when a container starts. So between judging a name and the engine's answer no other owner may remove it, make it,
 * or let it stand for something else. Calls of one owner do not wait for each other: it can only harm itself.
 */
export function openNameLocks(): NameLocks {
  /** Name → owner → how many of its calls use it and change it. */
  const held = new Map<string, Map<string, { use: number; change: number }>>();
  const isFree = ({ name, mode }: NameLock, owner: string): boolean => {
    for (const [holder, { use, change }] of held.get(name) ?? []) {
      if (holder !== owner && (change > 0 || (mode === 'change' && use > 0))) return false;
    }
    return true;
  };
  const count = ({ name, mode }: NameLock, owner: string, by: 1 | -1): void => {
    const holders = held.get(name) ?? new Map<string, { use: number; change: number }>();
    const counts = holders.get(owner) ?? { use: 0, change: 0 };
    counts[mode] += by;
    if (counts.use + counts.change > 0) holders.set(owner, counts);
    else holders.delete(owner);
    if (holders.size > 0) held.set(name, holders);
    else held.delete(name);
  };
  return {
    get size() {
      return held.size;
    },
    async hold(locks, owner) {
      const until = performance.now() + PATIENCE;
      // All at once or none: two calls never wait for each other.
      for (;;) {
        const busy = locks.find((lock) => !isFree(lock, owner));
        if (busy === undefined) break;
        if (performance.now() > until) {
          throw new Refusal(409, 'busy', `${busy.name} is being changed by another caller; try again`);
        }
        await sleep(LOOK);
      }
      for (const lock of locks) count(lock, owner, 1);
      let released = false;
      return () => {
        if (released) return;
        released = true;
        for (const lock of locks) count(lock, owner, -1);
      };
    },
  };
}

/** The names that a call depends on. */
export function locksOf(call: Call, references: readonly { kind: string; name: string; use: string }[]): NameLock[] {
  const locks = references.flatMap(({ kind, name, use }): NameLock[] => {
    if (WHOLE_ID.test(name)) return [];
    if (kind === 'volume') return [{ name: `volume:${name}`, mode: 'change' }];
    const mode = use === 'change' ? 'change' : 'use';
    if (kind === 'tag' || kind === 'image') return [{ name: `image:${shortImageName(name)}`, mode }];
    const isDelete = call.operation.id === 'NetworkDelete';
    return kind === 'network' ? [{ name: `network:${name}`, mode: isDelete ? 'change' : mode }] : [];
  });
  if (call.operation.id === 'NetworkCreate' && call.body.kind === 'json') {
    locks.push({ name: `network:${asString(asObject(call.body.value)['Name'])}`, mode: 'change' });
  }
  return locks;
}

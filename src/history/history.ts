import { LRUCache } from 'lru-cache';
import { atMost } from '../base/cache.js';
import type { OperationId } from '../docker/operation.js';
import type {
  CallHistory,
  KnownContainer,
  Made,
  Pulled,
  SequenceSettings,
  Step,
} from '../hazards/sequences.js';

/** Images, names of images, pulls and containers that are remembered, of each so many. */
const OBJECTS = 16_384;
/** Times at which images were built. */
const BUILDS = 4_096;
/** Builds of one client within this time are one entry: a flood of them must not push out the others' (ms). */
const SAME_BUILD = 300_000;
/** Into so many parts a window is cut; of each the first step is kept, so that a flood of pings is one entry. */
const PARTS = 16;
/** A look around may be a window older than the build, and the build a window older than the run. */
const KEPT_PARTS = 2 * PARTS + 1;
const DIGITS = 12;
/** Longer names are of no container or image that matters; they are not remembered, or by their beginning. */
const LONGEST_NAME = 255;

const NO_STEPS: readonly Step[] = Object.freeze([]);
const NO_MAP: ReadonlyMap<string, Step> = new Map();

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** An image's origin while the guard still learns about it. */
export type Origin = Writable<Made>;

interface ClientHistory {
  readonly look: Step[];
  readonly list: Step[];
  lastLook?: Step | undefined;
  lastList?: Step | undefined;
  entered?: Map<string, Step>;
  refused?: { total: Step[]; kinds: Map<string, Step> };
}

interface Build {
  readonly from: number;
  readonly made: Origin;
  running: number;
}

/**
 * What calls have done so far, as far as a sequence may need it. In memory only, and bounded everywhere by count. Each
 * kind of step has room of its own, so that many of one kind never push out the others.
 */
export interface History extends CallHistory {
  discovered(client: string, what: 'look' | 'list', step: Step): void;
  /** An image is being made: what its client knew by now belongs to it. */
  makes(client: string, operation: OperationId, step: Step): Origin;
  /** While this call runs, whatever image comes into being is of it. */
  builds(origin: Origin): void;
  /** What the call with this id, still on its way, makes. */
  origin(call: string): Origin | undefined;
  /** May anything that is remembered still matter for what an image is? */
  active(now: number): boolean;
  /** A call is over; most are of no interest. */
  ended(call: string, at: number): void;
  /** @param digits of its id. */
  learnImage(digits: string, made: Made): void;
  /** @param name with its tag, in its short form. */
  learnName(name: string, made: Made): void;
  learnPull(repository: string, step: Step): void;
  learnPulledImage(digits: string, pulled: Pulled): void;
  /** A container is being created. */
  creates(step: Step, made: Made | undefined): void;
  /** That was it; `step` is of the call that creates it. */
  learnContainer(digits: string, name: string, client: string, step: Step): void;
  renamed(reference: string, name: string): void;
  starts(reference: string): void;
  enters(client: string, container: string, step: Step): void;
  refuses(client: string, kind: string, step: Step): void;
}

/**
 * @param clients how many are remembered, of those that belong to a source and of strangers each: strangers cannot
 *   push out the others, see `clientKey`.
 */
export function openHistory(clients: number, settings: SequenceSettings): History {
  const known = new LRUCache<string, ClientHistory>(atMost(clients));
  const strangers = new LRUCache<string, ClientHistory>(atMost(clients));
  const images = new LRUCache<string, Made>(atMost(OBJECTS));
  const names = new LRUCache<string, Made>(atMost(OBJECTS));
  const builds = new LRUCache<string, Build>(atMost(BUILDS));
  const pulls = new LRUCache<string, Pulled>(atMost(OBJECTS));
  const pulledImages = new LRUCache<string, Pulled>(atMost(OBJECTS));
  const containers = new LRUCache<string, KnownContainer>(atMost(OBJECTS));
  const containerNames = new LRUCache<string, string>(atMost(OBJECTS));
  /** Calls on their way that make images; as many as the engine's connections. */
  const running = new Map<string, { origin: Origin; build: Build | undefined }>();

  const { 'build-and-run': built, 'exec-spread': spread, probing, 'pull-and-escape': pulled } = settings;
  const window = built === false ? 0 : built.window;
  const pullWindow = pulled === false ? 0 : pulled.window;

  /** Origins of containers that are being created. */
  const creating = new Map<string, Made>();
  let lastMade = -Infinity;
  let lastPull = -Infinity;

  const all = (client: string): LRUCache<string, ClientHistory> =>
    client.startsWith('\n') ? strangers : known;
  const seen = (client: string): ClientHistory | undefined => all(client).peek(client);
  const of = (client: string): ClientHistory => {
    const cache = all(client);
    let history = cache.get(client);
    if (history === undefined) cache.set(client, (history = { look: [], list: [] }));
    return history;
  };

  const discovery: History['discovery'] = (client, what, from, to) => {
    const history = seen(client);
    const last = what === 'look' ? history?.lastLook : history?.lastList;
    if (last === undefined || last.at < from) return undefined;
    if (last.at <= to) return last;
    return history?.[what].findLast(({ at }) => at >= from && at <= to);
  };

  const madeImage: History['madeImage'] = (digits) => {
    if (digits.length >= DIGITS) return images.peek(digits.slice(0, DIGITS));
    for (const [id, made] of images.entries()) if (id.startsWith(digits)) return made;
    return undefined;
  };

  const container: History['container'] = (reference) => {
    const name = reference.replace(/^\//, '');
    const id = containerNames.peek(name);
    if (id !== undefined) return containers.peek(id);
    return /^[0-9a-f]{12,64}$/.test(name) ? containers.peek(name.slice(0, DIGITS)) : undefined;
  };

  const nameContainer = (name: string, id: string): void => {
    if (name !== '' && name.length <= LONGEST_NAME) containerNames.set(copyOf(name), id);
  };

  return {
    discovery,
    madeImage,
    container,
    madeName: (name) => names.peek(name),
    madeAt(time) {
      for (const { from, made, running: now } of builds.values()) {
        if (time >= from && (now > 0 || time <= made.until)) return made;
      }
      return undefined;
    },
    pulledRepository: (name) => pulls.peek(name),
    pulledImage(digits) {
      if (digits.length >= DIGITS) return pulledImages.peek(digits.slice(0, DIGITS));
      for (const [id, one] of pulledImages.entries()) if (id.startsWith(digits)) return one;
      return undefined;
    },
    entered: (client) => seen(client)?.entered ?? NO_MAP,
    refused: (client) => seen(client)?.refused ?? { total: NO_STEPS, kinds: NO_MAP },

    discovered(client, what, step) {
      if (window === 0) return;
      const history = of(client);
      const steps = history[what];
      const part = (at: number): number => Math.floor((at * PARTS) / window);
      const newest = steps.at(-1);
      if (newest === undefined || part(newest.at) !== part(step.at)) {
        steps.push(step);
        if (steps.length > KEPT_PARTS) steps.shift();
      }
      if (what === 'look') history.lastLook = step;
      else history.lastList = step;
    },
    makes(client, operation, step) {
      const look = discovery(client, 'look', step.at - window, step.at);
      const list = discovery(client, 'list', step.at - window, step.at);
      const origin: Origin = { step, until: Infinity, operation, client, look, list };
      running.set(step.call, { origin, build: undefined });
      return origin;
    },
    builds(origin) {
      const key = `${Math.floor(origin.step.at / SAME_BUILD)} ${origin.client}`;
      let build = builds.get(key);
      if (build === undefined)
        builds.set(key, (build = { from: origin.step.at, made: { ...origin }, running: 0 }));
      // The first of them stands for all, with whatever its client found out before any of them.
      build.made.look ??= origin.look;
      build.made.list ??= origin.list;
      build.made.until = Infinity;
      build.running += 1;
      running.set(origin.step.call, { origin, build });
    },
    origin: (call) => running.get(call)?.origin,
    active: (now) => running.size > 0 || now - lastMade <= 2 * window || now - lastPull <= pullWindow,
    ended(call, at) {
      if (creating.size > 0) creating.delete(call);
      if (running.size === 0) return;
      const one = running.get(call);
      if (one === undefined) return;
      running.delete(call);
      one.origin.until = at;
      lastMade = at;
      if (one.build === undefined) return;
      one.build.running -= 1;
      if (one.build.running === 0) one.build.made.until = at;
    },
    learnImage(digits, made) {
      const id = digits.slice(0, DIGITS);
      keepDiscovery(images.peek(id), made, window);
      images.set(id, made);
    },
    learnName(name, made) {
      if (name.length > LONGEST_NAME) return;
      keepDiscovery(names.peek(name), made, window);
      names.set(copyOf(name), made);
    },
    learnPull(repository, step) {
      const before = pulls.peek(repository);
      // A second pull of what was new a moment ago does not make it old.
      if (before !== undefined && step.at - before.step.at <= pullWindow) return;
      lastPull = step.at;
      const name = copyOf(repository);
      pulls.set(name, { repository: name, step });
    },
    learnPulledImage: (digits, one) => void pulledImages.set(digits.slice(0, DIGITS), one),
    creates(step, made) {
      if (made !== undefined) creating.set(step.call, made);
    },
    learnContainer(digits, name, client, step) {
      const id = digits.slice(0, DIGITS);
      containers.set(id, { id, step, client, made: creating.get(step.call), started: false });
      nameContainer(name, id);
    },
    renamed(reference, name) {
      const one = container(reference);
      if (one !== undefined) nameContainer(name.replace(/^\//, ''), one.id);
    },
    starts(reference) {
      const one = container(reference);
      if (one !== undefined) containers.set(one.id, { ...one, started: true });
    },
    enters(client, into, step) {
      if (spread === false) return;
      const history = of(client);
      latest((history.entered ??= new Map()), into, step, spread.containers);
    },
    refuses(client, kind, step) {
      if (probing === false) return;
      const history = of(client);
      const refused = (history.refused ??= { total: [], kinds: new Map() });
      refused.total.push(step);
      if (refused.total.length > probing.total) refused.total.shift();
      latest(refused.kinds, kind, step, probing.distinct);
    },
  };
}

/** A text without the request or the answer that it is a part of: V8 would keep all of that with it. */
const copyOf = (text: string): string => Buffer.from(text, 'utf16le').toString('utf16le');

/** Keeps the last so many keys, by when each was last seen: if all are recent, so many of them were. */
function latest(map: Map<string, Step>, key: string, step: Step, most: number): void {
  map.delete(key);
  map.set(copyOf(key), step);
  if (map.size > most) map.delete(map.keys().next().value!);
}

/** Somebody else's build of the same must not wash off what its first builder had found out. */
function keepDiscovery(before: Made | undefined, made: Origin, window: number): void {
  if (before === undefined || before === made || made.step.at - before.step.at > window) return;
  made.look ??= before.look;
  made.list ??= before.list;
}

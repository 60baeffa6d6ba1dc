import { LRUCache } from 'lru-cache';
import { atMost } from '../base/bounded.js';
import type { OperationId } from '../docker/operation.js';
import type {
  CallHistory,
  KnownContainer,
  Made,
  Pulled,
  SequenceSettings,
  Step,
} from '../hazards/sequences.js';

/** Images, image names, pulls and containers that are remembered: this many of each. */
const MAX_OBJECTS = 16_384;
/** Times at which images were built. */
const MAX_BUILDS = 4_096;
/** Builds of one client within this time are one entry: a flood of them must not push out the others'. */
const SAME_BUILD_MS = 300_000;
/** A window is divided into this many parts; the first step of each is kept, so that a flood of pings is one entry. */
const PARTS = 16;
/** The discovery may be a window older than the build, and the build a window older than the run. */
const KEPT_PARTS = 2 * PARTS + 1;
/** Digits of an id that are remembered. */
const DIGITS = 12;
/** Longer names are not remembered, or only by their beginning: no real container or image has one. */
const MAX_NAME_LENGTH = 255;

const NO_STEPS: readonly Step[] = Object.freeze([]);
const NO_MAP: ReadonlyMap<string, Step> = new Map();
const NOT_REFUSED = { total: NO_STEPS, kinds: NO_MAP };

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** An image's origin while more of it may become known. */
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

/** A call on its way that makes an image, or a container of one whose origin is `made`. */
interface Unfinished {
  readonly origin?: Origin;
  readonly build?: Build;
  readonly made?: Made;
}

/**
 * What calls have done so far, as far as a sequence may need it. In memory only, and bounded everywhere by count. Each
 * kind of step has room of its own, so that many of one kind never push out the others.
 */
export class History implements CallHistory {
  readonly #settings: SequenceSettings;
  /** Of the discovery, the first step of each part of this length (ms) is kept. */
  readonly #partLength: number;
  /** How long a build, and a pull, matters (ms); 0: not at all. */
  readonly #buildWindow: number;
  readonly #pullWindow: number;
  readonly #known: LRUCache<string, ClientHistory>;
  readonly #strangers: LRUCache<string, ClientHistory>;
  /** By the first digits of their ids, and by name. */
  readonly #images = new LRUCache<string, Made>(atMost(MAX_OBJECTS));
  readonly #names = new LRUCache<string, Made>(atMost(MAX_OBJECTS));
  readonly #builds = new LRUCache<string, Build>(atMost(MAX_BUILDS));
  readonly #pulls = new LRUCache<string, Pulled>(atMost(MAX_OBJECTS));
  readonly #pulledImages = new LRUCache<string, Pulled>(atMost(MAX_OBJECTS));
  /** By the first digits of their ids; and the ids by name. */
  readonly #containers = new LRUCache<string, KnownContainer>(atMost(MAX_OBJECTS));
  readonly #containerIds = new LRUCache<string, string>(atMost(MAX_OBJECTS));
  /** Calls on their way that have to be reported as ended, by id; as many as the engine's connections. */
  readonly unfinished = new Map<string, Unfinished>();
  /** When an image was made last, and when one was pulled that was not known (milliseconds since 1970). */
  #lastMade = -Infinity;
  #lastPull = -Infinity;

  /**
   * @param clients how many are remembered, of those that belong to a source and of strangers each: strangers cannot
   *   push out the others, see `clientKey`.
   */
  constructor(clients: number, settings: SequenceSettings) {
    const { 'build-and-run': built, 'pull-and-escape': pulled } = settings;
    this.#settings = settings;
    this.#buildWindow = built === false ? 0 : built.window;
    this.#partLength = this.#buildWindow / PARTS;
    this.#pullWindow = pulled === false ? 0 : pulled.window;
    this.#known = new LRUCache<string, ClientHistory>(atMost(clients));
    this.#strangers = new LRUCache<string, ClientHistory>(atMost(clients));
  }

  // Read by inspectors.

  discovery(client: string, what: 'look' | 'list', from: number, to: number): Step | undefined {
    const history = this.#peek(client);
    const last = what === 'look' ? history?.lastLook : history?.lastList;
    if (last === undefined || last.at < from) return undefined;
    if (last.at <= to) return last;
    return history?.[what].findLast(({ at }) => at >= from && at <= to);
  }

  madeImage(digits: string): Made | undefined {
    return byDigits(this.#images, digits);
  }

  madeName(name: string): Made | undefined {
    return this.#names.peek(name);
  }

  madeAt(time: number): Made | undefined {
    for (const { from, made, running } of this.#builds.values()) {
      if (time >= from && (running > 0 || time <= made.until)) return made;
    }
    return undefined;
  }

  pulledRepository(name: string): Pulled | undefined {
    return this.#pulls.peek(name);
  }

  pulledImage(digits: string): Pulled | undefined {
    return byDigits(this.#pulledImages, digits);
  }

  container(reference: string): KnownContainer | undefined {
    const name = reference.replace(/^\//, '');
    const id = this.#containerIds.peek(name);
    if (id !== undefined) return this.#containers.peek(id);
    return /^[0-9a-f]{12,64}$/.test(name) ? this.#containers.peek(name.slice(0, DIGITS)) : undefined;
  }

  entered(client: string): ReadonlyMap<string, Step> {
    return this.#peek(client)?.entered ?? NO_MAP;
  }

  refused(client: string): { readonly total: readonly Step[]; readonly kinds: ReadonlyMap<string, Step> } {
    return this.#peek(client)?.refused ?? NOT_REFUSED;
  }

  // Updates by calls.

  discovered(client: string, what: 'look' | 'list', step: Step): void {
    if (this.#buildWindow === 0) return;
    const history = this.#of(client);
    const steps = history[what];
    const newest = steps.at(-1);
    const length = this.#partLength;
    if (newest === undefined || Math.floor(newest.at / length) !== Math.floor(step.at / length)) {
      steps.push(step);
      if (steps.length > KEPT_PARTS) steps.shift();
    }
    if (what === 'look') history.lastLook = step;
    else history.lastList = step;
  }

  /** An image is being made: the discovery by its client so far belongs to its origin. */
  makes(client: string, operation: OperationId, step: Step): Origin {
    const from = step.at - this.#buildWindow;
    const look = this.discovery(client, 'look', from, step.at);
    const list = this.discovery(client, 'list', from, step.at);
    const origin: Origin = { step, until: Infinity, operation, client, look, list };
    this.unfinished.set(step.call, { origin });
    return origin;
  }

  /** Images that appear while this call runs count as made by it. */
  builds(origin: Origin): void {
    const key = `${Math.floor(origin.step.at / SAME_BUILD_MS)} ${origin.client}`;
    let build = this.#builds.get(key);
    if (build === undefined) {
      build = { from: origin.step.at, made: { ...origin }, running: 0 };
      this.#builds.set(key, build);
    }
    // The first build stands for all of them, with the discovery by its client before any of them.
    build.made.look ??= origin.look;
    build.made.list ??= origin.list;
    build.made.until = Infinity;
    build.running += 1;
    this.unfinished.set(origin.step.call, { origin, build });
  }

  /** What the call with this id, still on its way, makes. */
  origin(call: string): Origin | undefined {
    return this.unfinished.get(call)?.origin;
  }

  /** Can anything that is remembered still be the origin of an image? */
  active(now: number): boolean {
    return (
      this.unfinished.size > 0 ||
      now - this.#lastMade <= 2 * this.#buildWindow ||
      now - this.#lastPull <= this.#pullWindow
    );
  }

  /** A call is over. Most are not in the history. */
  ended(call: string, at: number): void {
    const { origin, build } = this.unfinished.get(call) ?? {};
    this.unfinished.delete(call);
    if (origin === undefined) return;
    origin.until = at;
    this.#lastMade = Math.max(this.#lastMade, at);
    if (build === undefined) return;
    build.running -= 1;
    if (build.running === 0) build.made.until = at;
  }

  /** @param digits of its id. */
  addImage(digits: string, made: Made): void {
    const id = digits.slice(0, DIGITS);
    keepDiscovery(this.#images.peek(id), made, this.#buildWindow);
    this.#images.set(id, made);
  }

  /** @param name with its tag, in its short form. */
  addImageName(name: string, made: Made): void {
    if (name.length > MAX_NAME_LENGTH) return;
    keepDiscovery(this.#names.peek(name), made, this.#buildWindow);
    this.#names.set(copyOf(name), made);
  }

  addPull(repository: string, step: Step): void {
    const before = this.#pulls.peek(repository);
    // A repository that was new a moment ago still counts as new when it is pulled again.
    if (before !== undefined && step.at - before.step.at <= this.#pullWindow) return;
    this.#lastPull = Math.max(this.#lastPull, step.at);
    const name = copyOf(repository);
    this.#pulls.set(name, { repository: name, step });
  }

  addPulledImage(digits: string, pulled: Pulled): void {
    this.#pulledImages.set(digits.slice(0, DIGITS), pulled);
  }

  /** A container is being created, from an image of this origin. */
  creates(step: Step, made: Made): void {
    this.unfinished.set(step.call, { ...this.unfinished.get(step.call), made });
  }

  /** The container was created; `step` is of the call that created it. */
  addContainer(digits: string, name: string, client: string, step: Step): void {
    const id = digits.slice(0, DIGITS);
    this.#containers.set(id, {
      id,
      step,
      client,
      made: this.unfinished.get(step.call)?.made,
      started: false,
    });
    this.#nameContainer(name, id);
  }

  renamed(reference: string, name: string): void {
    const container = this.container(reference);
    if (container !== undefined) this.#nameContainer(name.replace(/^\//, ''), container.id);
  }

  starts(reference: string): void {
    const container = this.container(reference);
    if (container !== undefined) this.#containers.set(container.id, { ...container, started: true });
  }

  enters(client: string, container: string, step: Step): void {
    const spread = this.#settings['exec-spread'];
    if (spread === false) return;
    const history = this.#of(client);
    keepLatest((history.entered ??= new Map()), container, step, spread.containers);
  }

  refuses(client: string, kind: string, step: Step): void {
    const { probing } = this.#settings;
    if (probing === false) return;
    const history = this.#of(client);
    const refused = (history.refused ??= { total: [], kinds: new Map() });
    refused.total.push(step);
    if (refused.total.length > probing.total) refused.total.shift();
    keepLatest(refused.kinds, kind, step, probing.distinct);
  }

  #peek(client: string): ClientHistory | undefined {
    return (client.startsWith('\n') ? this.#strangers : this.#known).peek(client);
  }

  #of(client: string): ClientHistory {
    const cache = client.startsWith('\n') ? this.#strangers : this.#known;
    let history = cache.get(client);
    if (history === undefined) cache.set(client, (history = { look: [], list: [] }));
    return history;
  }

  #nameContainer(name: string, id: string): void {
    if (name !== '' && name.length <= MAX_NAME_LENGTH) this.#containerIds.set(copyOf(name), id);
  }
}

/** @param digits the beginning of an id; shorter than what is remembered of one, the first that begins so. */
function byDigits<T extends object>(cache: LRUCache<string, T>, digits: string): T | undefined {
  if (digits.length >= DIGITS) return cache.peek(digits.slice(0, DIGITS));
  for (const [id, one] of cache.entries()) if (id.startsWith(digits)) return one;
  return undefined;
}

/** A copy of a part of a request or an answer: V8 would keep the whole text in memory with a substring. */
const copyOf = (text: string): string => Buffer.from(text, 'utf16le').toString('utf16le');

/** Keeps the `limit` keys that were updated last. */
function keepLatest(map: Map<string, Step>, key: string, step: Step, limit: number): void {
  map.delete(key);
  map.set(copyOf(key), step);
  if (map.size > limit) map.delete(map.keys().next().value!);
}

/** A rebuild by another client keeps the first builder's discovery steps. */
function keepDiscovery(before: Made | undefined, made: Origin, window: number): void {
  if (before === undefined || before === made || made.step.at - before.step.at > window) return;
  made.look ??= before.look;
  made.list ??= before.list;
}

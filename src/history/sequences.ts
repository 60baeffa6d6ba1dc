import { clientNetwork } from '../base/address.js';
import { asObject } from '../base/json.js';
import { scanAnswer } from '../docker/answers/scan.js';
import type { Call, Client } from '../docker/call.js';
import { byOperation } from '../docker/catalogue.js';
import { entityOf, type Entities, type EntityName } from '../docker/entities.js';
import type { OperationId } from '../docker/operation.js';
import { formatImageName, givenImageName, readImageName, shortImageName } from '../hazards/image-name.js';
import type { Inspection, SequenceFinding } from '../hazards/inspection.js';
import { queryJson, queryText, queryTexts } from '../hazards/call-values.js';
import {
  digitsOf,
  entered,
  imageOf,
  madeBy,
  probing,
  type Made,
  type SequenceContext,
  type SequenceSettings,
  type SequenceView,
  type Step,
} from '../hazards/sequences.js';
import { History } from './history.js';
import { lookupsFor, pulledRepository, type Lookup } from './lookups.js';

/** A decision on a call, for the history. */
export interface Decision {
  /** As the engine gets it, if it passes. */
  readonly sent: Call;
  readonly snapshot: { readonly sources: readonly string[] };
  readonly inspection: Inspection;
  readonly passes: boolean;
  readonly verdict: { readonly effect: 'allow' | 'deny'; readonly code: string };
  readonly entities: Entities;
}

/** Kinds of refused calls are distinguished by this many characters. */
const MAX_KIND = 128;
/** More than the longest pattern of `answerIds` matches. */
const OVERLAP = 512;

export interface SequencesOptions extends SequenceSettings {
  /** How many clients are remembered, see `History`. */
  readonly clients: number;
}

/**
 * The history of calls begins empty with each start of the guard.
 *
 * @param now milliseconds since 1970.
 */
export function openSequences(options: SequencesOptions, now: () => number = Date.now): Sequences {
  return new Sequences(options, now);
}

/** The call history of one guard. */
export class Sequences {
  readonly #history: History;
  readonly #settings: SequenceSettings;
  readonly #lookups: ReadonlyMap<OperationId, Lookup>;
  readonly #now: () => number;
  /** A connection keeps its view until its sources change. */
  readonly #views = new WeakMap<Client, ClientView>();

  constructor({ clients, ...settings }: SequencesOptions, now: () => number) {
    this.#history = new History(clients, settings);
    this.#settings = settings;
    this.#lookups = lookupsFor(settings);
    this.#now = now;
  }

  /** What a call of this caller is judged with. */
  view(client: Client, sources: readonly string[]): ClientView {
    let view = this.#views.get(client);
    if (view?.sources !== sources) {
      view = new ClientView(clientKey(client, sources), sources, this.#settings, this.#history, this.#now);
      this.#views.set(client, view);
    }
    return view;
  }

  /** Of what the calls name, what a sequence can depend on; nothing for nearly all calls. */
  lookup(call: Call): EntityName | undefined {
    const lookup = this.#lookups.get(call.operation.id);
    if (lookup === undefined) return undefined;
    // Whether a pulled repository is new must be looked up even while the history is empty.
    const isWanted = call.operation.does.pulls === 'image' || this.#history.active(this.#now());
    return isWanted ? lookup(call) : undefined;
  }

  /**
   * Updates the history by a decision, before it takes effect.
   *
   * @returns the sequences that belong on record with it.
   */
  learn({
    sent,
    snapshot: { sources },
    inspection,
    passes,
    verdict,
    entities,
  }: Decision): readonly SequenceFinding[] | undefined {
    const { sequences } = inspection;
    const updates = passes ? HISTORY_UPDATES.get(sent.operation.id) : undefined;
    if (updates !== undefined) {
      const history = this.#history;
      const now = this.#now();
      const client = this.view(sent.client, sources).key;
      const context = { client, history, settings: this.#settings, now, entities };
      const step = { call: sent.id, at: now };
      for (const update of updates) update({ call: sent, inspection, step, context, history });
    }
    if (verdict.effect === 'allow') return sequences;
    // Denials because of probing do not count as probing: the caller would stay denied for ever.
    if (sequences?.some(({ sequence }) => sequence === 'probing') === true) return sequences;
    const probed = this.refused(sent.client, sources, sent.id, `${verdict.code} ${sent.operation.id}`);
    return probed === undefined ? sequences : [...(sequences ?? []), ...probed];
  }

  /**
   * The same for a request that could not be read as a call.
   *
   * @param kind what was wrong with it.
   */
  refused(
    client: Client,
    sources: readonly string[],
    call: string,
    kind: string,
  ): readonly SequenceFinding[] | undefined {
    const context = this.view(client, sources).context();
    this.#history.refuses(context.client, kind.slice(0, MAX_KIND), { call, at: context.now });
    // With `deny` it is checked before the decision.
    const rule = this.#settings.probing;
    const found = rule !== false && rule.action === 'deny' ? undefined : probing(context);
    return found === undefined ? undefined : [found];
  }

  /** Updates the history with images and containers from the engine's answer to a call that passed, before the client sees it. */
  watch(call: Call, sources: readonly string[]): ((piece: Buffer) => void) | undefined {
    const { answerIds, creates } = call.operation.does;
    const history = this.#history;
    if (creates === 'container') {
      const client = this.view(call.client, sources).key;
      const name = queryText(call, 'name').replace(/^\//, '');
      return scanAnswer(call, 'container', OVERLAP, ([digits = '']) => {
        history.addContainer(digits, name, client, { call: call.id, at: this.#now() });
      });
    }
    // Answers that name nothing new teach nothing.
    if (answerIds === undefined || isPull(call)) return undefined;
    return scanAnswer(call, 'image', OVERLAP, ([digits, name]) => {
      // The origin is known when the call has been decided on, which may be after this function was called.
      const origin = history.origin(call.id);
      if (origin === undefined) return;
      if (digits !== undefined) history.addImage(digits, origin);
      else history.addImageName(shortImageName(name ?? ''), origin);
    });
  }

  ended(call: string): void {
    if (this.#history.unfinished.size > 0) this.#history.ended(call, this.#now());
  }
}

/** What the calls of one client are judged with. */
class ClientView implements SequenceView {
  readonly key: string;
  readonly sources: readonly string[];
  readonly settings: SequenceSettings;
  readonly #history: History;
  readonly #now: () => number;

  constructor(
    key: string,
    sources: readonly string[],
    settings: SequenceSettings,
    history: History,
    now: () => number,
  ) {
    this.key = key;
    this.sources = sources;
    this.settings = settings;
    this.#history = history;
    this.#now = now;
  }

  get knowsOrigins(): boolean {
    return this.#history.active(this.#now());
  }

  context(): Omit<SequenceContext, 'entities'> {
    return { client: this.key, history: this.#history, settings: this.settings, now: this.#now() };
  }
}

/**
 * The key of a client in the history: its sources in the policy, and its address; of IPv6 the /64, because one host
 * can use all addresses of it; on a unix socket the listener. Keys of clients without a source begin with a line break.
 */
export function clientKey({ address, listener }: Client, sources: readonly string[]): string {
  return `${sources.join(',')}\n${clientNetwork(address) || address || listener}`;
}

/** A call that passes, with what the updates of the history need. */
interface PassingCall {
  readonly call: Call;
  readonly inspection: Inspection;
  readonly step: Step;
  readonly context: SequenceContext;
  readonly history: History;
}

type HistoryUpdate = (passingCall: PassingCall) => void;

const noteDiscovery: HistoryUpdate = ({ history, context, step }) =>
  history.discovered(context.client, 'look', step);

const noteListing: HistoryUpdate = ({ call, history, context, step }) => {
  if (!isOwnList(call)) history.discovered(context.client, 'list', step);
};

const notePull: HistoryUpdate = ({ call, history, context, step }) => {
  const repository = pulledRepository(call);
  if (repository === undefined) return;
  const before = entityOf(context.entities, 'repository', repository);
  if (before?.presence !== 'present') history.addPull(repository, step);
};

const noteImage: HistoryUpdate = ({ history, context, call, step }) => {
  const { id, does } = call.operation;
  if (isPull(call)) return;
  const origin = history.makes(context.client, id, step);
  for (const name of targets(call)) history.addImageName(name, origin);
  // An image that appears while a build runs counts as that build's; BuildKit reports nothing better.
  if (does.makesImages === 'build' || does.makesImages === 'commit') history.builds(origin);
};

/** The origin of the call's image. It is also remembered by id, so that it stays known when the image is renamed. */
function originOf({ call, history, context }: PassingCall): Made | undefined {
  const made = madeBy(imageOf(call), context);
  const image = entityOf(context.entities, 'image', imageOf(call))?.images?.[0];
  if (image === undefined) return made;
  const digits = digitsOf(image.id);
  if (made !== undefined) history.addImage(digits, made);
  for (const name of image.names) {
    const pulled = history.pulledRepository(readImageName(name)?.name ?? '');
    if (pulled !== undefined) history.addPulledImage(digits, pulled);
  }
  return made;
}

const noteTag: HistoryUpdate = (passingCall) => {
  const made = originOf(passingCall);
  if (made !== undefined)
    for (const name of targets(passingCall.call)) passingCall.history.addImageName(name, made);
};

const noteRun: HistoryUpdate = (passingCall) => {
  if (!passingCall.history.active(passingCall.context.now)) return;
  const made = originOf(passingCall);
  if (made !== undefined && passingCall.call.operation.does.runs === 'container')
    passingCall.history.creates(passingCall.step, made);
};

const noteRename: HistoryUpdate = ({ call, history }) =>
  history.renamed(call.path['id'] ?? '', queryText(call, 'name'));

const noteStart: HistoryUpdate = ({ call, history, context }) => {
  const name = call.path['id'] ?? '';
  history.starts(entityOf(context.entities, 'container', name)?.id || name);
};

const noteEntry: HistoryUpdate = ({ call, inspection, history, context, step }) => {
  const into = entered(call, inspection, context);
  if (into !== undefined) history.enters(context.client, into, step);
};

/** Updates of the history by passing calls, by operation. */
const HISTORY_UPDATES: ReadonlyMap<OperationId, readonly HistoryUpdate[]> = byOperation<HistoryUpdate>([
  [({ does }) => does.discovers === 'engine', noteDiscovery],
  [({ does }) => does.discovers === 'containers', noteListing],
  [({ does }) => does.pulls === 'image', notePull],
  [({ does }) => does.makesImages !== undefined, noteImage],
  [({ does }) => does.retags === true, noteTag],
  [({ does }) => does.runs !== undefined, noteRun],
  [({ does }) => does.renames === 'container', noteRename],
  [({ does }) => does.starts === 'container', noteStart],
  [({ does }) => does.enters !== undefined, noteEntry],
]);

/** A pull; the same operation imports when there is no `fromImage`. */
const isPull = (call: Call): boolean =>
  call.operation.does.pulls === 'image' && queryText(call, 'fromImage') !== '';

/** A list of the containers with a label: Compose and Traefik list their own containers, which is no discovery. */
function isOwnList(call: Call): boolean {
  const { label } = asObject(queryJson(call, 'filters'));
  const labels = Array.isArray(label) ? label : Object.keys(asObject(label ?? null));
  return labels.some((text) => text !== '');
}

/** The names that an image gets, with their tags. */
function targets(call: Call): readonly string[] {
  if (call.operation.does.tags === 't') {
    return queryTexts(call, 't')
      .filter((name) => name !== '')
      .map(shortImageName);
  }
  const name = givenImageName(queryText(call, 'repo'), queryText(call, 'tag'));
  return name === undefined ? [] : [shortImageName(formatImageName(name))];
}

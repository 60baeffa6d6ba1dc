import { clientNetwork } from '../base/address.js';
import type { Call, Client } from '../docker/call.js';
import { NO_ENTITIES, type Entities, type EntityName } from '../docker/entities.js';
import type { Inspection, SequenceFinding } from '../hazards/inspection.js';
import {
  probing,
  type SequenceContext,
  type SequenceSettings,
  type SequenceView,
} from '../hazards/sequences.js';
import { openHistory } from './history.js';
import { HISTORY_UPDATES, watchSequences } from './updates.js';
import { lookupsFor } from './lookups.js';

/** The call history of one guard. */
export interface Sequences {
  /** The history at this moment, as a call of this caller is judged by it. */
  view(client: Client, sources: readonly string[]): SequenceView;
  /** Of what the calls name, what a sequence can depend on; nothing for nearly all calls. */
  lookup(call: Call): EntityName | undefined;
  /**
   * Updates the history by a decision, before it takes effect.
   *
   * @returns the sequences that belong on record with it.
   */
  learn(decision: Decision): readonly SequenceFinding[] | undefined;
  /**
   * The same for a request that could not be read as a call.
   *
   * @param kind what was wrong with it.
   */
  refused(
    client: Client,
    sources: readonly string[],
    id: string,
    kind: string,
  ): readonly SequenceFinding[] | undefined;
  /** Updates the history with images and containers from the engine's answer to a call that passed. */
  watch(call: Call, sources: readonly string[]): ((piece: Buffer) => void) | undefined;
  ended(call: string): void;
}

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

export interface SequencesOptions extends SequenceSettings {
  /** How many clients are remembered, see `openHistory`. */
  readonly clients: number;
}

/**
 * The history of calls begins empty with each start of the guard.
 *
 * @param now milliseconds since 1970.
 */
export function openSequences(
  { clients, ...settings }: SequencesOptions,
  now: () => number = Date.now,
): Sequences {
  const history = openHistory(clients, settings);
  const lookups = lookupsFor(settings);
  // With `deny` it is checked before the decision.
  const deniesProbing = settings.probing !== false && settings.probing.action === 'deny';
  const contextOf = (client: string, entities = NO_ENTITIES): SequenceContext => ({
    client,
    history,
    settings,
    now: now(),
    entities,
  });
  const note = (client: string, kind: string, call: string): readonly SequenceFinding[] | undefined => {
    const context = contextOf(client);
    history.refuses(client, kind.slice(0, MAX_KIND), { call, at: context.now });
    const found = deniesProbing ? undefined : probing(context);
    return found === undefined ? undefined : [found];
  };

  return {
    view: (client, sources) => ({ settings, context: () => contextOf(clientKey(client, sources)) }),
    lookup(call) {
      const lookup = lookups.get(call.operation.id);
      if (lookup === undefined) return undefined;
      // Whether a pulled repository is new must be looked up even while the history is empty.
      return call.operation.does.pulls === 'image' || history.active(now()) ? lookup(call) : undefined;
    },
    learn({ sent, snapshot: { sources }, inspection, passes, verdict, entities }) {
      const { sequences } = inspection;
      if (passes) {
        const updates = HISTORY_UPDATES.get(sent.operation.id);
        if (updates !== undefined) {
          const context = contextOf(clientKey(sent.client, sources), entities);
          const step = { call: sent.id, at: context.now };
          for (const update of updates) update({ call: sent, inspection, step, context, history });
        }
      }
      if (verdict.effect === 'allow') return sequences;
      // Denials because of probing do not count as probing: the caller would stay denied for ever.
      if (sequences?.some(({ sequence }) => sequence === 'probing') === true) return sequences;
      const kind = `${verdict.code} ${sent.operation.id}`;
      const probed = note(clientKey(sent.client, sources), kind, sent.id);
      return probed === undefined ? sequences : [...(sequences ?? []), ...probed];
    },
    refused: (client, sources, id, kind) => note(clientKey(client, sources), kind, id),
    watch(call, sources) {
      // Answers that name nothing new teach nothing.
      if (call.operation.does.answerIds === undefined) return undefined;
      return watchSequences(history, call, clientKey(call.client, sources), now);
    },
    ended: (call) => history.ended(call, now()),
  };
}

/**
 * The key of a client in the history: its sources in the policy, and its address; of IPv6 the /64, because one host
 * can use all addresses of it; on a unix socket the listener. Keys of clients without a source begin with a line break.
 */
export function clientKey(client: Client, sources: readonly string[]): string {
  const known = keys.get(client);
  if (known?.sources === sources) return known.key;
  const { address, listener } = client;
  const key = `${sources.join(',')}\n${clientNetwork(address) || address || listener}`;
  keys.set(client, { sources, key });
  return key;
}

/** A connection keeps its key until its sources change. */
const keys = new WeakMap<Client, { readonly sources: readonly string[]; readonly key: string }>();

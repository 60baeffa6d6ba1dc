import { clientNetwork } from '../base/address.js';
import type { Call, Client } from '../docker/call.js';
import type { RequestEngine } from '../docker/engine-answer.js';
import type { Inspection, SequenceFinding } from '../hazards/inspection.js';
import {
  completesSequences,
  probing,
  sequencesOf,
  withSequences,
  type SequenceContext,
  type SequenceSettings,
  type Told,
} from '../hazards/sequences.js';
import { openHistory } from './history.js';
import { LESSONS, watchSequences } from './learn.js';
import { askAbout, NOTHING_TOLD, questionsFor, type Question } from './lookups.js';

/** The call history of one guard, and how a call is looked at with it. */
export interface Sequences {
  /** Adds the sequences that the call completes to what was found out about it. */
  look(call: Call, sources: readonly string[], inspection: Inspection, told?: Told): Inspection;
  /** What the engine has to be asked before the call can be judged; undefined for nearly all calls. */
  question(call: Call): Question | undefined;
  /** Never rejects, and ends in time. */
  ask(question: Question): Promise<Told>;
  /**
   * Learns from a decision, before it takes effect.
   *
   * @returns what belongs on record with it.
   */
  decided(decision: Decision): readonly SequenceFinding[] | undefined;
  /**
   * The same for what never became a call.
   *
   * @param kind what was wrong with it.
   */
  refused(
    client: Client,
    sources: readonly string[],
    id: string,
    kind: string,
  ): readonly SequenceFinding[] | undefined;
  /** Learns images and containers from the engine's answer to a call that passed. */
  watch(call: Call, sources: readonly string[]): ((piece: Buffer) => void) | undefined;
  ended(call: string): void;
}

export interface Decision {
  /** As the engine gets it, if it passes. */
  readonly sent: Call;
  readonly sources: readonly string[];
  readonly inspection: Inspection;
  readonly passes: boolean;
  readonly verdict: { readonly effect: 'allow' | 'deny'; readonly code: string };
  /** With what the engine was asked for the call. */
  readonly grounds: { readonly told?: Told | undefined };
}

/** Longest text that tells kinds of refused calls apart. */
const LONGEST_KIND = 128;

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
  request: RequestEngine,
  now: () => number = Date.now,
): Sequences {
  const history = openHistory(clients, settings);
  const questions = questionsFor(settings);
  // Whether anybody probes concerns every call then.
  const all = settings.probing !== false && settings.probing.action === 'deny';
  const contextOf = (client: string, told = NOTHING_TOLD): SequenceContext => ({
    client,
    history,
    settings,
    now: now(),
    told,
  });
  const note = (client: string, kind: string, call: string): readonly SequenceFinding[] | undefined => {
    const context = contextOf(client);
    history.refuses(client, kind.slice(0, LONGEST_KIND), { call, at: context.now });
    // With `deny` it was looked for before the decision.
    const found = all ? undefined : probing(context);
    return found === undefined ? undefined : [found];
  };

  return {
    look(call, sources, inspection, told) {
      if (!all && !completesSequences(call.operation)) return inspection;
      const context = contextOf(clientKey(call.client, sources), told);
      return withSequences(inspection, sequencesOf(call, inspection, context));
    },
    question(call) {
      const ask = questions.get(call.operation.id);
      if (ask === undefined) return undefined;
      // Whether a pulled repository is new is asked before anything is remembered.
      return call.operation.does.pulls === 'image' || history.active(now()) ? ask(call) : undefined;
    },
    ask: (question) => askAbout(request, question),
    decided({ sent, sources, inspection, passes, verdict, grounds }) {
      const { sequences } = inspection;
      if (passes) {
        const lessons = LESSONS.get(sent.operation.id);
        if (lessons !== undefined) {
          const context = contextOf(clientKey(sent.client, sources), grounds.told);
          const step = { call: sent.id, at: context.now };
          for (const learn of lessons) learn({ call: sent, inspection, step, context, history });
        }
      }
      if (verdict.effect === 'allow') return sequences;
      // Who is shut out for probing does not probe by being refused: it would never end.
      if (sequences?.some(({ sequence }) => sequence === 'probing') === true) return sequences;
      const kind = `${verdict.code} ${sent.operation.id}`;
      const probed = note(clientKey(sent.client, sources), kind, sent.id);
      return probed === undefined ? sequences : [...(sequences ?? []), ...probed];
    },
    refused: (client, sources, id, kind) => note(clientKey(client, sources), kind, id),
    watch: (call, sources) => watchSequences(history, call, clientKey(call.client, sources), now),
    ended: (call) => history.ended(call, now()),
  };
}

/**
 * Who a client is for the history: what policy takes it for, and its address; of IPv6 the /64, within which anybody
 * has all addresses; on a unix socket the listener. Keys of those without a source begin with a line break.
 */
export function clientKey({ address, listener }: Client, sources: readonly string[]): string {
  return `${sources.join(',')}\n${clientNetwork(address) || address || listener}`;
}

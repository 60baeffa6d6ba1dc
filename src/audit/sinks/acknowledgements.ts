import { randomUUID } from 'node:crypto';
import { parse, short } from './http-kinds.js';

/** Between two questions for what the indexers have (ms). */
const POLL = 250;
/** Indexers take their time: so many times the time-out of a post. */
const PATIENCE = 30;
/** The answer will be the same the next time. */
const REFUSALS = new Set([400, 401, 403, 404]);

/** What was posted to Splunk, and whether its indexers have it. */
export interface Acknowledgements {
  /** What posts and questions belong to. */
  channel(): string;
  /** Reads the answer to a post. @throws Error when posts are not acknowledged, or earlier ones will never be. */
  posted(answer: string): void;
  /** Resolves when all that was posted before is acknowledged; in the order of the calls. */
  confirm(signal: AbortSignal): Promise<void>;
  /** Begins anew: nobody waits any more for what was posted before. */
  reset(): void;
}

interface Mark {
  readonly ids: Set<number>;
  readonly until: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Splunk's indexer acknowledgement: each post gets a number, counted for each channel, and a question tells which numbers
 * are indexed. A number is told once and forgotten then: what gets lost on the way is posted again.
 *
 * INVARIANT: a number stands for one post. A receiver that was restarted counts anew, in the same channel: its numbers must
 * not be taken for those of posts that it has forgotten.
 *
 * @param ask asks for numbers, in a channel.
 * @param timeout of one question (ms).
 */
export function openAcknowledgements(
  timeout: number,
  ask: (
    channel: string,
    ids: readonly number[],
    signal: AbortSignal,
  ) => Promise<{ readonly status: number; readonly text: string }>,
): Acknowledgements {
  let channel = randomUUID();
  let newest = -1;
  let awaited: number[] = [];
  let marks: Mark[] = [];
  let polling = false;

  const fail = (error: Error): void => {
    const told = marks;
    marks = [];
    awaited = [];
    for (const { reject } of told) reject(error);
  };

  /** @returns what was wrong; empty when it was answered. */
  const question = async (signal: AbortSignal): Promise<string> => {
    const asked = channel;
    const ids = marks.flatMap((one) => [...one.ids]);
    if (ids.length === 0) return '';
    try {
      const { status, text } = await ask(asked, ids, signal);
      if (asked !== channel) return '';
      if (status !== 200) {
        const said = `the question for acknowledgements was answered ${status}: ${short(text)}`;
        if (REFUSALS.has(status)) fail(new Error(said));
        return said;
      }
      const acks = Object(parse(text)['acks']) as Record<string, unknown>;
      for (const one of marks) for (const id of one.ids) if (acks[id] === true) one.ids.delete(id);
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  };

  const poll = async (signal: AbortSignal): Promise<void> => {
    if (polling) return;
    polling = true;
    while (marks.length > 0) {
      const trouble = await question(signal);
      for (let one = marks[0]; one?.ids.size === 0; one = marks[0]) {
        marks.shift();
        one.resolve();
      }
      const [first] = marks;
      if (first === undefined) break;
      if (signal.aborted) fail(new Error('stopped'));
      else if (Date.now() >= first.until) {
        const waited = `not acknowledged by the indexers within ${timeout * PATIENCE} ms`;
        fail(new Error(trouble === '' ? waited : `${waited}; ${trouble}`));
      } else await new Promise((resolve) => setTimeout(resolve, POLL));
    }
    polling = false;
  };

  return {
    channel: () => channel,
    posted(answer) {
      const { ackId } = parse(answer);
      if (typeof ackId !== 'number') {
        throw new Error(
          'answered without an ackId: indexer acknowledgement is not switched on for this token',
        );
      }
      if (ackId <= newest) {
        throw new Error(`counts its acknowledgements anew (${ackId} after ${newest}): it was restarted`);
      }
      newest = ackId;
      awaited.push(ackId);
    },
    confirm: (signal) =>
      new Promise((resolve, reject) => {
        marks.push({ ids: new Set(awaited), until: Date.now() + timeout * PATIENCE, resolve, reject });
        awaited = [];
        void poll(signal);
      }),
    reset() {
      fail(new Error('given up'));
      channel = randomUUID();
      newest = -1;
    },
  };
}

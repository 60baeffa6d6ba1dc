import type { Call } from '../../src/docker/call.js';
import { sequencesSchema } from '../../src/config/sequences-config.js';
import type { OperationId } from '../../src/docker/operation.js';
import { openSequences } from '../../src/history/sequences.js';
import { inspect } from '../../src/hazards/inspect.js';
import type { SequenceFinding } from '../../src/hazards/inspection.js';
import type { Told } from '../../src/hazards/sequences.js';
import { makeCall, type Parts } from '../hazards/make-call.js';

/** One call of a story, with what the engine answers. */
export interface Act {
  readonly operation: OperationId;
  readonly parts?: Parts;
  /** Who calls: an address; a source after a slash (`192.0.2.1/ci`). */
  readonly by?: string;
  readonly answer?: string;
  readonly told?: Told;
  /** Milliseconds that pass before it. */
  readonly after?: number;
  /** Policy refuses it, with this code. */
  readonly refused?: string;
  /** It does not end. */
  readonly runs?: boolean;
}

export interface Heard {
  readonly operation: string;
  readonly findings: readonly SequenceFinding[];
  /** Hazards that come from sequences. */
  readonly hazards: readonly string[];
}

export interface Player {
  play(act: Act): Heard;
  now(): number;
}

/** A history of its own, and a clock that only moves when told to. Every call passes unless its act says otherwise. */
export function newPlayer(section: object = {}): Player {
  let clock = 1_700_000_000_000;
  let count = 0;
  const request = (): Promise<never> => new Promise(() => {});
  const sequences = openSequences(sequencesSchema.parse(section), request, () => clock);
  return {
    now: () => clock,
    play({ operation, parts = {}, by = '192.0.2.1', answer = '', told, after = 10, refused, runs }) {
      clock += after;
      count += 1;
      const [address = '', source] = by.split('/');
      const sources = source === undefined ? [] : [source];
      const made = makeCall(operation, parts);
      const call: Call = { ...made, id: `${operation}-${count}`, client: { ...made.client, address } };
      const inspection = sequences.look(call, sources, inspect(call), told);
      const passes = refused === undefined;
      const verdict = passes
        ? { effect: 'allow' as const, code: 'allow' }
        : { effect: 'deny' as const, code: refused };
      const findings =
        sequences.decided({ sent: call, sources, inspection, passes, verdict, grounds: { told } }) ?? [];
      if (passes) {
        const watch = sequences.watch(call, sources);
        // In two pieces: an answer is cut anywhere.
        const half = answer.length >> 1;
        if (answer !== '')
          for (const part of [answer.slice(0, half), answer.slice(half)]) watch?.(Buffer.from(part));
      }
      clock += 10;
      if (runs !== true) sequences.ended(call.id);
      const hazards = inspection.hazards.filter(({ kind }) => kind === 'sequence');
      return { operation, findings, hazards: hazards.map(({ argument }) => argument) };
    },
  };
}

/** The hazards of all calls of a story. */
export function raisedBy(acts: readonly Act[], section: object = {}): string[] {
  const player = newPlayer(section);
  return acts.flatMap((act) => player.play(act).hazards);
}

/** An id of 64 digits that begins with these. */
export const id = (digits: string): string => digits.padEnd(64, '7');
export const aux = (digits: string): string =>
  `{"stream":"Step 1/2"}\r\n{"aux":{"ID":"sha256:${id(digits)}"}}\r\n{"stream":"Successfully built ${digits}"}\r\n`;

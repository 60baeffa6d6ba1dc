import type { Call } from '../../src/docker/call.js';
import { sequencesSchema } from '../../src/config/sequences-config.js';
import type { OperationId } from '../../src/docker/operation.js';
import { openSequences } from '../../src/history/sequences.js';
import { inspect } from '../../src/hazards/inspect.js';
import { entityKey, type Entities, type Entity } from '../../src/docker/entities.js';
import type { SequenceFinding } from '../../src/hazards/inspection.js';
import { pulledRepository } from '../../src/history/lookups.js';
import { makeCall, type Parts } from '../hazards/make-call.js';

/** What the engine says of what a call names; absent: it does not answer in time. */
export interface EngineState {
  readonly image?: {
    readonly reference: string;
    readonly id: string;
    readonly names: readonly string[];
    readonly created: number;
  };
  readonly container?: {
    readonly id: string;
    readonly image: string;
    readonly created: number;
    readonly started: boolean;
  };
  readonly hadRepository?: boolean;
}

function entitiesOf(call: Call, { image, container, hadRepository }: EngineState): Entities {
  const found = new Map<string, Entity>();
  const add = (entity: Entity): void => void found.set(entityKey(entity), entity);
  if (image !== undefined) {
    const { reference, id: digits, names, created } = image;
    const state = { id: `sha256:${digits}`, names, labels: {}, created };
    add({ kind: 'image', name: reference, presence: 'present', id: state.id, images: [state] });
  }
  if (container !== undefined) {
    const { id: whole, ...state } = container;
    const name = call.path['id'] ?? '';
    add({
      ...{ kind: 'container', name, presence: 'present', id: whole },
      container: { ...state, networks: [] },
    });
  }
  if (hadRepository !== undefined) {
    const name = pulledRepository(call) ?? '';
    add({ kind: 'repository', name, presence: hadRepository ? 'present' : 'missing', id: '' });
  }
  return { found };
}

/** One call of a story, with what the engine answers. */
export interface Act {
  readonly operation: OperationId;
  readonly parts?: Parts;
  /** Who calls: an address; a source after a slash (`192.0.2.1/ci`). */
  readonly by?: string;
  readonly answer?: string;
  readonly engine?: EngineState;
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

/** A history of its own, and a clock that only an act moves. Every call passes unless its act says otherwise. */
export function newPlayer(section: object = {}): Player {
  let clock = 1_700_000_000_000;
  let count = 0;
  const sequences = openSequences(sequencesSchema.parse(section), () => clock);
  return {
    now: () => clock,
    play({ operation, parts = {}, by = '192.0.2.1', answer = '', engine = {}, after = 10, refused, runs }) {
      clock += after;
      count += 1;
      const [address = '', source] = by.split('/');
      const sources = source === undefined ? [] : [source];
      const made = makeCall(operation, parts);
      const call: Call = { ...made, id: `${operation}-${count}`, client: { ...made.client, address } };
      const entities = entitiesOf(call, engine);
      const view = sequences.view(call.client, sources);
      const inspection = inspect(call, undefined, undefined, entities, view);
      const passes = refused === undefined;
      const verdict = passes
        ? { effect: 'allow' as const, code: 'allow' }
        : { effect: 'deny' as const, code: refused };
      const findings =
        sequences.learn({ sent: call, snapshot: { sources }, inspection, passes, verdict, entities }) ?? [];
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

import { editJson } from '../docker/answers/edit-json.js';
import { rewriteWhole } from '../docker/answers/elements.js';
import { UNTOUCHED, type Place } from '../docker/answers/place.js';
import type { Call } from '../docker/call.js';
import { operationOf, operationsThat } from '../docker/catalogue.js';
import type { Answer } from '../docker/catalogue/traits.js';
import type { Operation, OperationId } from '../docker/operation.js';
import type { ReportAt } from './compile-rule.js';
import { compileGlob } from '../base/glob.js';
import {
  ERROR_ANSWER,
  freeText,
  placesFor,
  SECRET_PLACE,
  type Places,
  type Wanted,
} from './redact-places.js';
import type { RedactClass, RedactShape } from './redact-schema.js';
import type { Redaction } from './compiled.js';
import { hideCommands } from './redact-top.js';
import { putQuery, type Step } from './rewrite-draft.js';

type Shape = (places: Places, wanted: Wanted) => Place;

const CLASSES: readonly RedactClass[] = ['env', 'paths', 'labels', 'secrets', 'commands'];

/** Where an answer of each kind begins; those that are no JSON documents of their own have no place. */
const SHAPES: Readonly<Record<Answer['as'], Shape | undefined>> = {
  documents: ({ common }) => common,
  content: undefined,
  // `Path` is the program there, not a path of the host.
  container: ({ at, command }) => at({ path: command }),
  processes: undefined,
  // Provenance states build arguments and commands.
  attestations: ({ common, at }, { env, commands }) =>
    env === undefined && commands === undefined ? common : deep(at, { statement: SECRET_PLACE }),
  // Words of the engine on the kernel and its own configuration, which `docker info` shows.
  info: ({ at }) => at({ warnings: UNTOUCHED }),
  events: ({ event }) => event(),
  usage: ({ at, command }) => {
    // Of a step of a build: `mount / from exec /bin/sh -c …`.
    const steps = deep(at, { description: command });
    return at({ buildcache: steps, buildcacheusage: steps });
  },
  volume: ({ volume }) => volume,
  privileges: ({ at, path }) => deep(at, { value: path }),
};

/** Elements of a list, and what is below them, with these keys. */
function deep(at: Places['at'], keys: Readonly<Record<string, Place>>): Place {
  const place = at(keys);
  place.items = place.other = place;
  return place;
}

/**
 * Compiles the `redact` of one rule for each of its operations. A key that no answer to any of them holds anything of is an
 * error: it would promise something and do nothing.
 */
export function compileRedact(
  redact: RedactShape,
  operations: readonly OperationId[],
  reportRule: ReportAt,
): ReadonlyMap<OperationId, Redaction> {
  const report: ReportAt = (path, message) => reportRule(['redact', ...path], message);
  const wanted = readShape(redact, report);
  const classes = CLASSES.filter((className) => wanted[className] !== undefined);
  const answers = operations.flatMap((id) => operationOf(id).does.answer ?? []);
  if (operations.length > 0 && redact === 'all' && answers.length === 0) {
    const message = `no answer to the operations of this rule holds what is redacted (logs, archives and the output of builds are content, and pass); it is for ${listed(operationsThat(({ does }) => does.answer !== undefined))}.`;
    report([], message);
  }
  for (const className of redact === 'all' || operations.length === 0 ? [] : classes) {
    if (answers.some(({ holds }) => holds.includes(className))) continue;
    const valid = operationsThat(({ does }) => does.answer?.holds.includes(className) === true);
    const message = `no answer to the operations of this rule holds ${className} (logs, archives and the output of builds are content, and pass); it is for ${listed(valid)}.`;
    report([className], message);
  }
  const places = placesFor(wanted);
  return new Map(operations.map((id) => [id, redactionOf(operationOf(id), wanted, places)]));
}

/** Loggers add variables and labels to the lines of a log where the caller asks for details: the engine is asked without. */
const withoutDetails: Step = (draft) => {
  if (draft.next.query['details'] !== undefined) putQuery(draft, 'details', undefined);
};

/** What a redaction changes about a call before it is sent; undefined for most operations. */
export function redactStep(redaction: Redaction | undefined, id: OperationId): Step | undefined {
  const isRedacted = redaction !== undefined && redaction.rewrites.length > 0;
  return isRedacted && operationOf(id).query['details'] !== undefined ? withoutDetails : undefined;
}

const listed = (ids: readonly string[]): string =>
  ids.length <= 12 ? ids.join(', ') : `${ids.slice(0, 10).join(', ')} and ${ids.length - 10} more`;

function readShape(redact: RedactShape, report: ReportAt): Wanted {
  const none = (): boolean => false;
  if (redact === 'all') return Object.fromEntries(CLASSES.map((className) => [className, none]));
  const wanted: { -readonly [K in keyof Wanted]: Wanted[K] } = {};
  for (const className of CLASSES) {
    const value = redact[className];
    if (value === undefined) continue;
    const globs = value === true ? [] : value.keep.map(compileGlob);
    wanted[className] = globs.length === 0 ? none : (text) => globs.some((glob) => glob(text));
  }
  if (Object.keys(wanted).length === 0) {
    report([], `found an empty object; say what to redact (${CLASSES.join(', ')}), or "all".`);
  }
  return wanted;
}

function redactionOf({ does, response }: Operation, wanted: Wanted, places: Places): Redaction {
  const { answer } = does;
  const redacted = CLASSES.filter(
    (className) => wanted[className] !== undefined && answer?.holds.includes(className) === true,
  );
  const documents = response === 'stream' ? 'many' : 'one';
  const make = answer === undefined || redacted.length === 0 ? undefined : SHAPES[answer.as];
  // Events are read with a memory of their own.
  const place = answer?.as === 'events' ? undefined : make?.(places, wanted);
  const pathEdit = places.path.edit;
  return Object.freeze({
    rewrites: Object.freeze(redacted.length === 0 ? [] : [`answer: ${redacted.join(', ')}`]),
    body:
      answer?.as === 'processes' && redacted.length > 0
        ? (call: Call) => rewriteWhole((value) => hideCommands(value, call), MAX_PROCESSES_BYTES)
        : make && (() => editJson(place ?? make(places, wanted), { documents })),
    error: () => editJson(ERROR_ANSWER, { documents: 'one' }),
    errorText: freeTextOr,
    path:
      typeof pathEdit === 'function' && redacted.includes('paths')
        ? (text: string) => pathEdit(text) ?? text
        : undefined,
  });
}

const freeTextOr = (text: string): string => freeText(text) ?? text;

/** Bytes: a hundred for each of the processes that Linux has at most on 32 bits. */
const MAX_PROCESSES_BYTES = 4 * 2 ** 20;

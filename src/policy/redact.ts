import { editJson } from '../docker/answers/edit-json.js';
import { rewriteWhole } from '../docker/answers/elements.js';
import { UNTOUCHED, type Place } from '../docker/answers/place.js';
import type { Call } from '../docker/call.js';
import { operationById } from '../docker/catalogue.js';
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
import type { Redaction } from './redaction.js';
import { hideCommands } from './redact-top.js';

/** One operation whose answers hold what can be redacted. */
interface Answer {
  readonly holds: readonly RedactClass[];
  /** Where an answer begins; undefined: only its errors, or headers, hold something. */
  readonly place?: (places: Places, wanted: Wanted) => Place;
}

const CLASSES: readonly RedactClass[] = ['env', 'paths', 'labels', 'secrets', 'commands'];
const common = ({ common: place }: Places): Place => place;
const holds = (...classes: RedactClass[]): Answer => ({ holds: classes, place: common });
/** An answer with success is empty, or content. */
const inErrors: Answer = { holds: ['paths', 'commands'] };
const inspected: Answer = {
  holds: CLASSES,
  // `Path` is the program there, not a path of the host.
  place: ({ at, command }) => at({ path: command }),
};
const volume: Answer = { holds: ['labels', 'paths', 'secrets'], place: (places) => places.volume };
const spec = holds(...CLASSES);

/** Operations that are not here answer with nothing that is redacted, or with content. */
export const ANSWERS: Readonly<Record<string, Answer>> = {
  ContainerList: holds('commands', 'labels', 'paths', 'secrets'),
  ContainerInspect: inspected,
  ContainerTop: { holds: ['commands'] },
  ContainerWait: holds('commands', 'paths'),
  ContainerCreate: holds('commands', 'paths'),
  ContainerUpdate: holds('commands', 'paths'),
  ContainerStart: inErrors,
  ContainerRestart: inErrors,
  ContainerAttach: inErrors,
  ContainerExec: inErrors,
  ExecStart: inErrors,
  ExecInspect: holds('commands', 'env'),
  ContainerArchive: { holds: ['paths'] },
  ContainerArchiveInfo: { holds: ['paths'] },
  ImageList: holds('labels', 'secrets'),
  ImageInspect: spec,
  ImageHistory: holds('commands'),
  ImageAttestations: {
    holds: ['env', 'commands', 'labels', 'secrets'],
    // Provenance states build arguments and commands.
    place: ({ common: place, at }, { env, commands }) =>
      env === undefined && commands === undefined ? place : deep(at, { statement: SECRET_PLACE }),
  },
  DistributionInspect: holds('labels', 'secrets'),
  SystemInfo: {
    holds: ['paths', 'labels', 'secrets', 'commands'],
    // Words of the engine on the kernel and its own configuration, which `docker info` shows.
    place: ({ at }) => at({ warnings: UNTOUCHED }),
  },
  SystemEvents: {
    holds: ['labels', 'commands', 'paths'],
    place: ({ event }) => event(),
  },
  SystemDataUsage: {
    holds: ['labels', 'commands', 'paths', 'secrets'],
    // Of a step of a build: `mount / from exec /bin/sh -c …`.
    place: ({ at, command }) => {
      const steps = deep(at, { description: command });
      return at({ buildcache: steps, buildcacheusage: steps });
    },
  },
  SystemAuth: holds('secrets'),
  NetworkList: holds('labels', 'secrets'),
  NetworkInspect: holds('labels', 'secrets', 'paths'),
  VolumeList: { holds: ['labels', 'paths', 'secrets'], place: common },
  VolumeInspect: volume,
  VolumeCreate: volume,
  PluginList: holds('env', 'paths', 'secrets', 'commands'),
  PluginInspect: holds('env', 'paths', 'secrets', 'commands'),
  PluginDelete: holds('env', 'paths', 'secrets', 'commands'),
  GetPluginPrivileges: { holds: ['paths'], place: ({ at, path }) => deep(at, { value: path }) },
  SwarmInspect: holds('secrets', 'labels'),
  SwarmUnlockkey: holds('secrets'),
  NodeList: holds('labels', 'secrets'),
  NodeInspect: holds('labels', 'secrets'),
  ServiceList: spec,
  ServiceInspect: spec,
  ServiceCreate: holds('commands', 'paths'),
  ServiceUpdate: holds('commands', 'paths'),
  TaskList: spec,
  TaskInspect: spec,
  SecretList: holds('labels', 'secrets'),
  SecretInspect: holds('labels', 'secrets'),
  ConfigList: holds('labels', 'secrets'),
  ConfigInspect: holds('labels', 'secrets'),
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
  operations: readonly string[],
  reportRule: ReportAt,
): ReadonlyMap<string, Redaction> {
  const report: ReportAt = (path, message) => reportRule(['redact', ...path], message);
  const wanted = readShape(redact, report);
  const classes = CLASSES.filter((one) => wanted[one] !== undefined);
  const known = operations.filter((id) => Object.hasOwn(ANSWERS, id));
  if (operations.length > 0 && redact === 'all' && known.length === 0) {
    const message = `no answer to the operations of this rule holds what is redacted (logs, archives and the output of builds are content, and pass); it is for ${listed(Object.keys(ANSWERS))}.`;
    report([], message);
  }
  for (const one of redact === 'all' || operations.length === 0 ? [] : classes) {
    if (known.some((id) => ANSWERS[id]!.holds.includes(one))) continue;
    const valid = Object.keys(ANSWERS).filter((id) => ANSWERS[id]!.holds.includes(one));
    const message = `no answer to the operations of this rule holds ${one} (logs, archives and the output of builds are content, and pass); it is for ${listed(valid)}.`;
    report([one], message);
  }
  const places = placesFor(wanted);
  return new Map(operations.map((id) => [id, redactionOf(id, wanted, places)]));
}

const listed = (ids: readonly string[]): string =>
  ids.length <= 12 ? ids.join(', ') : `${ids.slice(0, 10).join(', ')} and ${ids.length - 10} more`;

function readShape(redact: RedactShape, report: ReportAt): Wanted {
  const none = (): boolean => false;
  if (redact === 'all') return Object.fromEntries(CLASSES.map((one) => [one, none]));
  const wanted: { -readonly [K in keyof Wanted]: Wanted[K] } = {};
  for (const one of CLASSES) {
    const value = redact[one];
    if (value === undefined) continue;
    const globs = value === true ? [] : value.keep.map(compileGlob);
    wanted[one] = globs.length === 0 ? none : (text) => globs.some((glob) => glob(text));
  }
  if (Object.keys(wanted).length === 0) {
    report([], `found an empty object; say what to redact (${CLASSES.join(', ')}), or "all".`);
  }
  return wanted;
}

function redactionOf(id: string, wanted: Wanted, places: Places): Redaction {
  const answer = Object.hasOwn(ANSWERS, id) ? ANSWERS[id]! : undefined;
  const told = CLASSES.filter((one) => wanted[one] !== undefined && answer?.holds.includes(one) === true);
  const documents = operationById(id)?.response === 'stream' ? 'many' : 'one';
  const make = told.length === 0 ? undefined : answer?.place;
  // Events are read with a memory of their own.
  const place = id === 'SystemEvents' ? undefined : make?.(places, wanted);
  const pathEdit = places.path.edit;
  return Object.freeze({
    rewrites: Object.freeze(told.length === 0 ? [] : [`answer: ${told.join(', ')}`]),
    body:
      id === 'ContainerTop' && told.length > 0
        ? (call: Call) => rewriteWhole((value) => hideCommands(value, call), MOST_PROCESSES)
        : make && (() => editJson(place ?? make(places, wanted), { documents })),
    error: () => editJson(ERROR_ANSWER, { documents: 'one' }),
    errorText: freeTextOr,
    path:
      typeof pathEdit === 'function' && told.includes('paths')
        ? (text: string) => pathEdit(text) ?? text
        : undefined,
  });
}

const freeTextOr = (text: string): string => freeText(text) ?? text;

/** Bytes: a hundred for each of the processes that Linux has at most on 32 bits. */
const MOST_PROCESSES = 4 * 2 ** 20;

import { formatDuration } from '../base/units.js';
import type { Call } from '../docker/call.js';
import { entityOf, NO_ENTITIES, type Entities } from '../docker/entities.js';
import { operationOf, operationsThat } from '../docker/catalogue.js';
import type { OperationId } from '../docker/operation.js';
import type { SequenceName } from './catalogue.js';
import type { Hazard, Inspection, SequenceAction, SequenceFinding } from './inspection.js';
import { readImageName, shortImageName } from './image-name.js';
import { reachesHost } from './host-access.js';
import { bodyText } from './call-values.js';

/** False: not looked for. `window` is in milliseconds. */
export interface SequenceSettings {
  /** `discovery`: the client must have queried the engine and listed its containers before the build. */
  readonly 'build-and-run': false | (Common & { readonly discovery: boolean });
  readonly 'pull-and-escape': false | Common;
  /** `containers`: so many different ones are fine. */
  readonly 'exec-spread': false | (Common & { readonly containers: number });
  /** So many refused calls, and of so many kinds. */
  readonly probing: false | (Common & { readonly total: number; readonly distinct: number });
}

interface Common {
  readonly window: number;
  readonly action: SequenceAction;
}

/** A call that was part of a sequence. */
export interface Step {
  /** Call id. */
  readonly call: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** How an image came to be on this engine other than from a registry. */
export interface Made {
  /** When that call was decided. */
  readonly step: Step;
  /** When it was over; infinite while it runs. */
  readonly until: number;
  readonly operation: OperationId;
  readonly client: string;
  /** Discovery by its client before: of the engine (`look`), and of its containers (`list`). */
  readonly look?: Step | undefined;
  readonly list?: Step | undefined;
}

/** A pull of a repository that the engine had no image of. */
export interface Pulled {
  readonly step: Step;
  readonly repository: string;
}

export interface KnownContainer {
  /** First 12 digits. */
  readonly id: string;
  readonly step: Step;
  readonly client: string;
  /** Its image's origin, if that is known and no registry. */
  readonly made?: Made | undefined;
  /** It was let run once. */
  readonly started: boolean;
}

/** What is known from the calls so far. Read-only; the room `history` keeps and bounds it. */
export interface CallHistory {
  /** The last such step of the client between two times. */
  discovery(client: string, what: 'look' | 'list', from: number, to: number): Step | undefined;
  /** By the digits of an image's id, all or the first of them. */
  madeImage(digits: string): Made | undefined;
  /** By a name with its tag, in its short form. */
  madeName(name: string): Made | undefined;
  /** What was building an image at that time. */
  madeAt(time: number): Made | undefined;
  pulledRepository(name: string): Pulled | undefined;
  pulledImage(digits: string): Pulled | undefined;
  /** By an id, its first 12 digits or more, or a name. */
  container(reference: string): KnownContainer | undefined;
  /** The containers that the client entered last, as many as the setting says. */
  entered(client: string): ReadonlyMap<string, Step>;
  /** The client's last refused calls, as many as the setting says, and the last of each kind. */
  refused(client: string): { readonly total: readonly Step[]; readonly kinds: ReadonlyMap<string, Step> };
}

/** The history of calls at one moment, as one caller's call is judged by it. */
export interface SequenceView {
  readonly settings: SequenceSettings;
  /** Is anything remembered that an image could come from? If not, running one completes nothing. */
  readonly knowsOrigins: boolean;
  /** Who is calling, and when; made for the calls that can complete a sequence. */
  context(): Omit<SequenceContext, 'entities'>;
}

/** What a call is judged with. */
export interface SequenceContext {
  /** See CallHistory: who is calling. */
  readonly client: string;
  readonly history: CallHistory;
  readonly settings: SequenceSettings;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** What the engine says of the image or the container that the call names. */
  readonly entities: Entities;
}

const MAX_CALLS = 20;
/** Clocks of engine and guard agree within this much (ms). */
const MAX_CLOCK_DIFFERENCE = 5_000;

/** The operations that can complete a sequence. Where `probing` is set to deny, every call can. */
export const COMPLETING: ReadonlySet<OperationId> = new Set(
  operationsThat(
    ({ does }) => does.runs !== undefined || does.starts !== undefined || does.enters !== undefined,
  ),
);

/**
 * The sequences that this call completes. Pure: the history, what the engine says and the time come in.
 *
 * @param inspection what was found out about the call itself.
 */
export function sequencesOf(
  call: Call,
  inspection: Inspection,
  context: SequenceContext,
): readonly SequenceFinding[] {
  const { does } = call.operation;
  const { probing: rule } = context.settings;
  const probed = rule !== false && rule.action === 'deny' ? probing(context) : undefined;
  const found: (SequenceFinding | undefined)[] = [probed];
  if (does.runs !== undefined) {
    const image = imageOf(call);
    found.push(buildAndRun(madeBy(image, context), [], context), pullAndEscape(image, inspection, context));
  } else if (does.starts !== undefined) {
    found.push(startOf(call.path['id'] ?? '', context));
  } else if (does.enters !== undefined) {
    found.push(execSpread(call, inspection, context));
  }
  return found.filter((one) => one !== undefined);
}

/** Puts the sequences into an inspection: those that deny as hazards, all of them for the record. */
export function withSequences(inspection: Inspection, sequences: readonly SequenceFinding[]): Inspection {
  const hazards = sequences
    .filter(({ action }) => action === 'deny')
    .map(({ sequence }): Hazard => ({ kind: 'sequence', argument: sequence }));
  return { ...inspection, hazards: [...inspection.hazards, ...hazards], sequences };
}

/** The image that a call runs, or gives another name, as written. */
export function imageOf(call: Call): string {
  const { runsImageAt, retags } = call.operation.does;
  if (runsImageAt !== undefined) return bodyText(call, runsImageAt);
  return retags === true ? (call.path['name'] ?? '') : '';
}

/** May the engine have an image of this name or id? If not, it need not be looked up. */
export const isReference = (text: string): boolean =>
  text !== '' && (IDENTIFIER.test(text) || readImageName(text) !== undefined);

const IDENTIFIER = /^(?:sha256:)?([0-9a-f]{1,64})$/;

/**
 * Where an image came from. The id that the engine reports counts more than the name, because names move. An image that was
 * created while a build ran counts as made by it, even if the build's answer does not name it: an intermediate step can be run too.
 */
export function madeBy(
  reference: string,
  { history, entities, now, settings }: SequenceContext,
): Made | undefined {
  const rule = settings['build-and-run'];
  if (rule === false || reference === '') return undefined;
  const recent = (made: Made | undefined): Made | undefined =>
    made !== undefined && now - made.until <= rule.window ? made : undefined;
  const image = entityOf(entities, 'image', reference)?.images?.[0];
  if (image !== undefined) {
    const named = image.names.map((name) => history.madeName(shortImageName(name)));
    return (
      recent(history.madeImage(digitsOf(image.id))) ??
      // The answer to a load only has names, and the images in an archive can claim any age.
      recent(
        named.find((made) => made !== undefined && operationOf(made.operation).does.makesImages === 'load'),
      ) ??
      (Number.isNaN(image.created) ? undefined : recent(history.madeAt(image.created)))
    );
  }
  const name = readImageName(reference);
  const byName =
    recent(history.madeName(shortImageName(reference))) ??
    recent(name?.digest.startsWith('sha256:') === true ? history.madeImage(name.digest.slice(7)) : undefined);
  const digits = IDENTIFIER.exec(reference)?.[1];
  return byName ?? (digits === undefined ? undefined : recent(history.madeImage(digits)));
}

function startOf(reference: string, context: SequenceContext): SequenceFinding | undefined {
  const rule = context.settings['build-and-run'];
  if (rule === false) return undefined;
  const { history, entities, now } = context;
  const entity = entityOf(entities, 'container', reference);
  const known = history.container(entity?.id || reference);
  // A container that has run before was judged then: a restart, for instance by a health monitor, does not begin an attack.
  if (entity?.container?.started ?? known?.started ?? false) return undefined;
  const recent = known !== undefined && now - known.step.at <= rule.window;
  let made = recent ? known.made : undefined;
  if (made === undefined && entity?.container !== undefined) {
    // Created past the guard, or from an image whose name has changed since.
    const { image, created } = entity.container;
    made = madeBy(`sha256:${image}`, { ...context, entities: NO_ENTITIES });
    // A container older than the build has the same image only because the build produced it again.
    if (made !== undefined && known === undefined && created < made.step.at - MAX_CLOCK_DIFFERENCE)
      made = undefined;
    if (made !== undefined && known !== undefined && known.step.at < made.step.at) made = undefined;
  }
  return buildAndRun(made, known === undefined ? [] : [known], context);
}

function buildAndRun(
  made: Made | undefined,
  containers: readonly KnownContainer[],
  { client, history, settings }: SequenceContext,
): SequenceFinding | undefined {
  const rule = settings['build-and-run'];
  if (rule === false || made === undefined) return undefined;
  // The discovery may be by any of those who take part: builder, creator or starter.
  const clients = [client, ...containers.map((container) => container.client)];
  const before = (what: 'look' | 'list'): Step | undefined => {
    const { at } = made.step;
    const own = made[what];
    if (own !== undefined) return own;
    for (const participant of clients) {
      const step = history.discovery(participant, what, at - rule.window, at);
      if (step !== undefined) return step;
    }
    return undefined;
  };
  const look = before('look');
  const list = before('list');
  if (rule.discovery && (look === undefined || list === undefined)) return undefined;
  const discovery = [look, list].filter((step) => step !== undefined);
  const after =
    discovery.length === 0 ? '' : ` after a look around (${words(discovery.map(({ call }) => call))})`;
  return finding(
    'build-and-run',
    rule.action,
    [...discovery, made.step, ...containers.map(({ step }) => step)],
    `its image was made on this engine, by ${made.operation} (call ${made.step.call})${after}`,
  );
}

function pullAndEscape(
  reference: string,
  { hazards }: Inspection,
  { history, entities, settings, now }: SequenceContext,
): SequenceFinding | undefined {
  const rule = settings['pull-and-escape'];
  if (rule === false || !hazards.some(reachesHost)) return undefined;
  const image = entityOf(entities, 'image', reference)?.images?.[0];
  const known = image === undefined ? IDENTIFIER.exec(reference)?.[1] : digitsOf(image.id);
  const repositories = [reference, ...(image?.names ?? [])].map((name) => readImageName(name)?.name);
  const pulled = [
    known === undefined ? undefined : history.pulledImage(known),
    ...repositories.map((name) => (name === undefined ? undefined : history.pulledRepository(name))),
  ].find((pull) => pull !== undefined && now - pull.step.at <= rule.window);
  if (pulled === undefined) return undefined;
  const why = `${pulled.repository} was new on this engine when it was pulled (call ${pulled.step.call}), and the container reaches the host`;
  return finding('pull-and-escape', rule.action, [pulled.step], why);
}

/** The container that a call enters (exec, attach with input); undefined if the client itself created the container. */
export function entered(
  call: Call,
  { facts }: Inspection,
  { client, history }: Pick<SequenceContext, 'client' | 'history'>,
): string | undefined {
  const { enters } = call.operation.does;
  if (enters === undefined) return undefined;
  if (enters === 'with-input' && facts['attach.stdin'] !== true) return undefined;
  const reference = call.path['id'] ?? '';
  const known = history.container(reference);
  // The creator of a container decides anyway what runs in it: `docker run -i` attaches to the container it creates.
  if (known?.client === client) return undefined;
  // The beginning is enough to distinguish containers, and long texts are not kept.
  return known?.id ?? reference.slice(0, 128);
}

function execSpread(
  call: Call,
  inspection: Inspection,
  context: SequenceContext,
): SequenceFinding | undefined {
  const rule = context.settings['exec-spread'];
  const container = rule === false ? undefined : entered(call, inspection, context);
  if (rule === false || container === undefined) return undefined;
  const all = context.history.entered(context.client);
  if (all.has(container)) return undefined;
  const recent = [...all.values()].filter(({ at }) => context.now - at <= rule.window);
  if (recent.length < rule.containers) return undefined;
  const why = `this caller went into ${recent.length} other containers within ${formatDuration(rule.window)}: ${words(recent.map((step) => step.call))}`;
  return finding('exec-spread', rule.action, recent, why);
}

/** The digits of an image's id. */
export const digitsOf = (id: string): string => id.replace(/^sha256:/, '');

/** Many refused calls of one client, and of many kinds: a poll that is denied every second is one kind. */
export function probing({
  client,
  history,
  settings,
  now,
}: Omit<SequenceContext, 'entities'>): SequenceFinding | undefined {
  const rule = settings.probing;
  if (rule === false) return undefined;
  const { total, kinds } = history.refused(client);
  if (total.length < rule.total || kinds.size < rule.distinct) return undefined;
  const within = ({ at }: Step): boolean => now - at <= rule.window;
  if (!total.every(within) || ![...kinds.values()].every(within)) return undefined;
  const why = `at least ${rule.total} calls of this caller were refused within ${formatDuration(rule.window)}, of ${rule.distinct} kinds or more; the last was call ${total.at(-1)!.call}`;
  return finding('probing', rule.action, [...kinds.values()], why);
}

function finding(
  sequence: SequenceName,
  action: SequenceAction,
  steps: readonly Step[],
  why: string,
): SequenceFinding {
  const ordered = steps.toSorted((first, second) => first.at - second.at);
  const calls = [...new Set(ordered.map(({ call }) => call))].slice(-MAX_CALLS);
  return { sequence, action, calls, since: ordered[0]!.at, why };
}

function words(calls: readonly string[]): string {
  const more = calls.length - 3;
  const shown = calls.slice(0, 3).join(', ');
  return `call${calls.length === 1 ? '' : 's'} ${shown}${more > 0 ? ` and ${more} more` : ''}`;
}

import type { Call } from '../docker/call.js';
import { formatImageName, givenImageName, readImageName, shortImageName } from '../hazards/image-name.js';
import type { Inspection } from '../hazards/inspection.js';
import { asObject } from '../hazards/judge.js';
import { queryJson, queryText, queryTexts } from '../hazards/query.js';
import {
  entered,
  imageOf,
  madeBy,
  type Made,
  type SequenceContext,
  type Step,
} from '../hazards/sequences.js';
import type { History } from './history.js';
import { scanAnswer } from '../docker/answers/scan.js';
import { pulledRepository } from './lookups.js';

/** A call that passes, for who learns from it. */
export interface Passing {
  readonly call: Call;
  readonly inspection: Inspection;
  readonly step: Step;
  readonly context: SequenceContext;
  readonly history: History;
}

type Lesson = (passing: Passing) => void;

const looks: Lesson = ({ history, context, step }) => history.discovered(context.client, 'look', step);
const lists: Lesson = ({ history, context, step }) => history.discovered(context.client, 'list', step);

const makes: Lesson = ({ history, context, call, step }) => {
  const origin = history.makes(context.client, call.operation.id, step);
  for (const name of targets(call)) history.learnName(name, origin);
};

/** What comes into being while they run is theirs; with BuildKit nothing else tells. */
const builds: Lesson = (passing) => {
  makes(passing);
  passing.history.builds(passing.history.origin(passing.step.call)!);
};

/** The image of the call has an origin: it keeps it under whatever name it gets, and when it was only told by its age. */
function originOf({ call, history, context }: Passing): Made | undefined {
  const made = madeBy(imageOf(call), context);
  const { image } = context.told;
  if (image === undefined) return made;
  if (made !== undefined) history.learnImage(image.id, made);
  for (const name of image.names) {
    const pulled = history.pulledRepository(readImageName(name)?.name ?? '');
    if (pulled !== undefined) history.learnPulledImage(image.id, pulled);
  }
  return made;
}

const starts: Lesson = ({ call, history, context }) =>
  history.starts(context.told.container?.id ?? call.path['id'] ?? '');

const enters: Lesson = ({ call, inspection, history, context, step }) => {
  const into = entered(call, inspection, context);
  if (into !== undefined) history.enters(context.client, into, step);
};

/** What passing calls teach, by operation. */
export const LESSONS: ReadonlyMap<string, Lesson> = new Map<string, Lesson>([
  ['SystemPing', looks],
  ['SystemPingHead', looks],
  ['SystemVersion', looks],
  ['SystemInfo', looks],
  ['ContainerList', (passing) => (isOwnList(passing.call) ? undefined : lists(passing))],
  ['SystemDataUsage', lists],
  ['ImageBuild', builds],
  ['Grpc', builds],
  ['Session', builds],
  ['ImageCommit', builds],
  ['ImageLoad', makes],
  [
    'ImageCreate',
    (passing) => {
      const repository = pulledRepository(passing.call);
      if (repository !== undefined && passing.context.told.hadRepository !== true) {
        passing.history.learnPull(repository, passing.step);
      }
      if (queryText(passing.call, 'fromImage') === '') makes(passing);
    },
  ],
  [
    'ImageTag',
    (passing) => {
      const made = originOf(passing);
      if (made !== undefined) for (const name of targets(passing.call)) passing.history.learnName(name, made);
    },
  ],
  ['ContainerCreate', (passing) => passing.history.creates(passing.step, originOf(passing))],
  ['ServiceCreate', (passing) => void originOf(passing)],
  ['ServiceUpdate', (passing) => void originOf(passing)],
  ['ContainerRename', ({ call, history }) => history.renamed(call.path['id'] ?? '', queryText(call, 'name'))],
  ['ContainerStart', starts],
  ['ContainerRestart', starts],
  ['ContainerExec', enters],
  ['ContainerAttach', enters],
  ['ContainerAttachWebsocket', enters],
]);

/** A list of the containers with a label: Compose and Traefik ask for their own, not for what there is. */
function isOwnList(call: Call): boolean {
  const { label } = asObject(queryJson(call, 'filters'));
  const labels = Array.isArray(label) ? label : Object.keys(asObject(label ?? null));
  return labels.some((one) => one !== '');
}

/** The names that an image gets, with their tags. */
function targets(call: Call): readonly string[] {
  if (call.operation.id === 'ImageBuild') {
    return queryTexts(call, 't')
      .filter((name) => name !== '')
      .map(shortImageName);
  }
  const name = givenImageName(queryText(call, 'repo'), queryText(call, 'tag'));
  return name === undefined ? [] : [shortImageName(formatImageName(name))];
}

/** How answers name what was made. A step of a build prints what it likes, but only the builder writes `aux`. */
const AUX = /"aux":\{"ID":"sha256:([0-9a-f]{64})"/g;
/** API versions below 1.30 have no `aux` (router/build/build_routes.go); `q` leaves nothing but the id. */
const TEXT = /"stream":"(?:Successfully built |sha256:)([0-9a-f]{12,64})\\n"/g;
const COMMITTED = /"Id":"sha256:([0-9a-f]{64})"/g;
const IMPORTED = /"status":"sha256:([0-9a-f]{64})"/g;
const LOADED = /"stream":"Loaded image(?: ID)?: (?:sha256:([0-9a-f]{64})|([^"\\ ]{1,300}))\\n"/g;
const CREATED = /"Id":"([0-9a-f]{64})"/g;
/** More than the longest of these. */
const OVERLAP = 512;

/** Learns from the engine's answer to a call, before the client sees it. */
export function watchSequences(
  history: History,
  call: Call,
  client: string,
  now: () => number,
): ((piece: Buffer) => void) | undefined {
  const { id } = call.operation;
  // The origin is known when the call has been decided on, which may be after this.
  const image = (digits = ''): void => {
    const origin = history.origin(call.id);
    if (origin !== undefined && digits !== '') history.learnImage(digits, origin);
  };
  const watch = (pattern: RegExp): ((piece: Buffer) => void) =>
    scanAnswer(pattern, OVERLAP, ([digits]) => image(digits));
  switch (id) {
    case 'ImageBuild':
      return watch(isBelow(call.apiVersion, 30) ? TEXT : AUX);
    case 'ImageCommit':
      return watch(COMMITTED);
    case 'ImageCreate':
      return queryText(call, 'fromImage') === '' ? watch(IMPORTED) : undefined;
    case 'ImageLoad':
      return scanAnswer(LOADED, OVERLAP, ([digits, name = '']) => {
        const origin = history.origin(call.id);
        if (digits !== undefined) image(digits);
        else if (origin !== undefined) history.learnName(shortImageName(name), origin);
      });
    case 'ContainerCreate': {
      const name = queryText(call, 'name').replace(/^\//, '');
      return scanAnswer(CREATED, OVERLAP, ([digits = '']) => {
        history.learnContainer(digits, name, client, { call: call.id, at: now() });
      });
    }
    default:
      return undefined;
  }
}

function isBelow(version: string, minor: number): boolean {
  const given = /^1\.(\d+)/.exec(version)?.[1];
  return given !== undefined && Number(given) < minor;
}

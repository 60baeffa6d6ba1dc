import type { Call } from '../docker/call.js';
import { byOperation } from '../docker/catalogue.js';
import type { OperationId } from '../docker/operation.js';
import { formatImageName, givenImageName, readImageName, shortImageName } from '../hazards/image-name.js';
import type { Inspection } from '../hazards/inspection.js';
import { asObject } from '../base/json.js';
import { queryJson, queryText, queryTexts } from '../hazards/query.js';
import { entityOf } from '../docker/entities.js';
import {
  digitsOf,
  entered,
  imageOf,
  madeBy,
  type Made,
  type SequenceContext,
  type Step,
} from '../hazards/sequences.js';
import type { History } from './history.js';
import { scanAnswer, combined, answerIdsOf } from '../docker/answers/scan.js';
import { pulledRepository } from './lookups.js';

/** A call that passes, with what the updates of the history need. */
export interface PassingCall {
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
  const made = originOf(passingCall);
  if (passingCall.call.operation.does.runs === 'container')
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
export const HISTORY_UPDATES: ReadonlyMap<OperationId, readonly HistoryUpdate[]> = byOperation<HistoryUpdate>(
  [
    [({ does }) => does.discovers === 'engine', noteDiscovery],
    [({ does }) => does.discovers === 'containers', noteListing],
    [({ does }) => does.pulls === 'image', notePull],
    [({ does }) => does.makesImages !== undefined, noteImage],
    [({ does }) => does.retags === true, noteTag],
    [({ does }) => does.runs !== undefined, noteRun],
    [({ does }) => does.renames === 'container', noteRename],
    [({ does }) => does.starts === 'container', noteStart],
    [({ does }) => does.enters !== undefined, noteEntry],
  ],
);

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

/** More than the longest pattern of `answerIds` matches. */
const OVERLAP = 512;

/** Updates the history from the engine's answer to a call, before the client sees it. */
export function watchSequences(
  history: History,
  call: Call,
  client: string,
  now: () => number,
): ((piece: Buffer) => void) | undefined {
  if (isPull(call)) return undefined;
  const images = answerIdsOf(call, 'image').map(({ pattern }) =>
    scanAnswer(pattern, OVERLAP, ([digits, name]) => {
      // The origin is known when the call has been decided on, which may be after this function was called.
      const origin = history.origin(call.id);
      if (origin === undefined) return;
      if (digits !== undefined) history.addImage(digits, origin);
      else history.addImageName(shortImageName(name ?? ''), origin);
    }),
  );
  if (call.operation.does.creates !== 'container') return combined(images);
  const name = queryText(call, 'name').replace(/^\//, '');
  const containers = answerIdsOf(call, 'container').map(({ pattern }) =>
    scanAnswer(pattern, OVERLAP, ([digits = '']) => {
      history.addContainer(digits, name, client, { call: call.id, at: now() });
    }),
  );
  return combined([...images, ...containers]);
}

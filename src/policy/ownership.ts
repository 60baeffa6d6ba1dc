import type { Call, NamedObject, NamePlace, QueryValue } from '../docker/call.js';
import type { Entities } from '../docker/entities.js';
import { type JsonObject, type JsonValue, asArray, asObject, asString } from '../base/json.js';
import type { OperationId } from '../docker/operation.js';
import { labelFilters, OWNER_LABEL, ownFilter, subjectOf } from '../hazards/ownership.js';
import { queryJson, queryText, queryTexts } from '../hazards/call-values.js';
import {
  fieldOf,
  putEntries,
  putField,
  putQuery,
  putQueryEntries,
  startDraft,
  type Draft,
  type Step,
} from './rewrite-draft.js';

/*
 * Ownership by rewriting calls: a rule with a condition about owners shows and removes only the caller's objects; what a
 * caller creates gets its label; and where the owner of an object was looked up, its id is sent in place of its name.
 */

/** The step that a rule about owners takes for an operation; undefined where there is nothing to limit. */
export function ownStep(operation: OperationId): Step | undefined {
  const { kind } = subjectOf(operation);
  if (kind === 'filtered') return limitFilters;
  return kind === 'answer' ? limitAnswer : undefined;
}

/** Lists, prunes and events: the engine filters by the label, so that `limit` and pages still work. */
const limitFilters: Step = (draft) => {
  const label = draft.call.owner?.label ?? '';
  if (label === '') return;
  const filters = queryJson(draft.next, 'filters');
  const given = labelFilters(filters);
  const values = asObject(filters);
  const isList = Object.values(values).some((value) => Array.isArray(value));
  if (isList && Object.values(values).some((value) => !Array.isArray(value))) {
    draft.conflict = 'its filters are written in two ways at once';
    return;
  }
  // INVARIANT: swarm handlers make a map of the labels, where the last of two values of one label counts.
  const labelValues = [...given.filter((text) => text.split('=', 1)[0] !== OWNER_LABEL), ownFilter(label)];
  const all = isList ? labelValues : Object.fromEntries(labelValues.map((text) => [text, true]));
  const limited = Object.assign(Object.create(null) as JsonObject, values, { label: all });
  putQuery(draft, 'filters', { type: 'json', value: limited });
};

const limitAnswer: Step = (draft) => {
  if ((draft.call.owner?.label ?? '') !== '') draft.next = { ...draft.next, ownAnswer: true };
};

/** A call as it goes to the engine, and what was changed for ownership. */
export interface OwnedCall {
  readonly call: Call;
  readonly changes: readonly string[];
  /** Why the label cannot be written, or `""`; with a conflict the call must not be sent. */
  readonly conflict: string;
}

/**
 * Writes the owner's label on what the call makes, and ids in place of the names that were judged.
 * INVARIANT: a label of the client, of the image or of the Dockerfile never names the owner. Callers without an
 * owner write an empty label, otherwise a container would inherit its image's.
 */
export function withOwner(call: Call, entities: Entities): OwnedCall {
  const { owner } = call;
  if (owner === undefined) return { call, changes: [], conflict: '' };
  const draft = startDraft(call);
  const changes: string[] = [];
  if (putLabel(draft, owner.label)) changes.push(`label ${OWNER_LABEL} = ${owner.name || '(none)'}`);
  if (draft.conflict !== '') return { call, changes: [], conflict: draft.conflict };
  let sent = draft.next;
  for (const object of entities.objects ?? []) {
    const { kind, name, id, place } = object;
    if (place === undefined || id === '' || id === name || keepsName(object)) continue;
    sent = withText(sent, place, place.before + id + place.after);
    changes.push(`${kind} ${name.slice(0, 80)} = ${id}`);
  }
  return { call: sent, changes, conflict: '' };
}

/** A container shows the name of its image, and a removal by name takes that name alone: only an id becomes the whole one. */
function keepsName({ kind, name, id, use, place }: NamedObject): boolean {
  if (kind !== 'image' || (use === 'use' && place?.in === 'path')) return false;
  return !id.replace('sha256:', '').startsWith(name.replace('sha256:', ''));
}

/** @returns false where nothing is made. */
function putLabel(draft: Draft, label: string): boolean {
  const { labelsAt, inheritsLabels, changes, uniqueNameAt, runs } = draft.call.operation.does;
  if (label === '' && inheritsLabels !== true) return false;
  const entries = new Map<string, JsonValue>([[OWNER_LABEL, label]]);
  if (labelsAt === 'labels') {
    putQueryEntries(draft, labelsAt, entries);
    return true;
  }
  if (labelsAt === undefined) {
    // An import has no labels but those of its instructions; a pull has its own.
    return changes === true && queryText(draft.call, 'fromImage') === '' && putLabelInChanges(draft, label);
  }
  for (const steps of labelsAt) putEntries(draft, steps, entries);
  if (changes === true && label !== '' && queryTexts(draft.call, 'changes').length > 0) {
    putLabelInChanges(draft, label);
  }
  if (uniqueNameAt !== undefined) putField(draft, uniqueNameAt, true);
  if (runs === 'service') putLabelInMounts(draft, entries);
  return true;
}

/** Nodes create the missing volumes of a service. */
function putLabelInMounts(draft: Draft, entries: ReadonlyMap<string, JsonValue>): void {
  const steps = ['TaskTemplate', 'ContainerSpec', 'Mounts'];
  const mounts = asArray(fieldOf(draft, ...steps));
  if (!mounts.some((mount) => asObject(mount)['Type'] === 'volume')) return;
  const labelled = mounts.map((mount): JsonValue => {
    const fields = asObject(mount);
    if (fields['Type'] !== 'volume') return mount;
    const options = asObject(fields['VolumeOptions']);
    const Labels = { ...asObject(options['Labels']), ...Object.fromEntries(entries) };
    return { ...fields, VolumeOptions: { ...options, Labels } };
  });
  putField(draft, steps, labelled);
}

/** Instructions of one line that can neither swallow the next line nor set a label. */
const PLAIN_CHANGE =
  /^\s*(?:CMD|ENTRYPOINT|ENV|EXPOSE|STOPSIGNAL|USER|VOLUME|WORKDIR|HEALTHCHECK|MAINTAINER)\s[^\r\n\\`]*$/i;

/** Commit and import: the engine reads `changes` as the lines of a Dockerfile; the last label counts. */
function putLabelInChanges(draft: Draft, label: string): boolean {
  const changes = queryTexts(draft.next, 'changes').filter((text) => text !== '');
  const malformed = changes.find((text) => text.includes('<<') || !PLAIN_CHANGE.test(text));
  if (malformed !== undefined) {
    draft.conflict = `the instruction ${JSON.stringify(malformed.slice(0, 80))} in "changes" could remove the owner's label; leave it out, or build the image with a Dockerfile`;
    return false;
  }
  putQuery(draft, 'changes', { type: 'strings', value: [...changes, `LABEL ${OWNER_LABEL}="${label}"`] });
  return true;
}

function withText(call: Call, place: NamePlace, text: string): Call {
  const [name = ''] = place.steps;
  if (place.in === 'path') return { ...call, path: { ...call.path, [name]: text } };
  if (place.in === 'query') {
    const value: QueryValue = { type: 'string', value: text };
    return {
      ...call,
      query: Object.assign(Object.create(null) as typeof call.query, call.query, { [name]: value }),
    };
  }
  if (call.body.kind !== 'json') return call;
  return {
    ...call,
    body: { kind: 'json', value: putText(call.body.value, place.steps, text) as JsonObject },
  };
}

function putText(value: JsonValue | undefined, [step, ...rest]: readonly string[], text: string): JsonValue {
  if (step === undefined) return text;
  if (Array.isArray(value)) {
    return value.map((item, index) => (String(index) === step ? putText(item, rest, text) : item));
  }
  const copy = Object.assign(Object.create(null) as JsonObject, asObject(value));
  copy[step] = putText(copy[step], rest, text);
  return copy;
}

/** Volumes that a container needs and that do not exist: the guard creates them, with the owner's label. */
export interface NewVolume {
  readonly Name: string;
  readonly Driver: string;
  readonly DriverOpts: JsonObject;
  readonly Labels: JsonObject;
}

/** The volumes that the engine would make on its own, without a label. */
export function volumesToMake(call: Call, { objects = [] }: Entities): NewVolume[] {
  const { owner, body } = call;
  if (call.operation.does.runs !== 'container' || owner === undefined || body.kind !== 'json') return [];
  const missing = objects.filter(({ kind, relation }) => kind === 'volume' && relation === 'missing');
  const names = [...new Set(missing.map(({ name }) => name))];
  const given = body.value['HostConfig'];
  const host = given === undefined || given === null ? body.value : asObject(given);
  return names.map((Name) => {
    const mount = asArray(host['Mounts'])
      .map((mount) => asObject(mount))
      .find((mount) => mount['Source'] === Name);
    const options = asObject(mount?.['VolumeOptions']);
    const driver = asObject(options['DriverConfig']);
    // Of binds, VolumeDriver; of mounts, their own (daemon/create_unix.go, volume/mounts).
    const Driver = mount === undefined ? asString(host['VolumeDriver']) : asString(driver['Name']);
    return {
      Name,
      Driver: Driver || 'local',
      DriverOpts: asObject(driver['Options']),
      Labels: Object.assign(Object.create(null) as JsonObject, asObject(options['Labels']), {
        [OWNER_LABEL]: owner.label,
      }),
    };
  });
}

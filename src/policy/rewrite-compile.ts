import { operationOf, operationsThat } from '../docker/catalogue.js';
import type { Call } from '../docker/call.js';
import type { JsonObject } from '../base/json.js';
import type { Traits } from '../docker/catalogue/traits.js';
import type { Operation, OperationId } from '../docker/operation.js';
import { inspect } from '../hazards/inspect.js';
import { formatHazard } from '../hazards/inspection.js';
import type { ReportAt } from './compile-rule.js';
import type { Permit } from './compiled.js';
import { covers } from './decide.js';
import {
  foldLegacy,
  noNewPrivileges,
  prepareDns,
  prepareDropCapabilities,
  prepareNetwork,
  prepareUser,
  setOption,
} from './rewrite-container.js';
import type { Step } from './rewrite-draft.js';
import { prepareFields } from './rewrite-fields.js';
import { prepareImages } from './rewrite-images.js';
import { prepareLabels, prepareProxy } from './rewrite-labels.js';
import { prepareLimits } from './rewrite-limits.js';
import type { RewriteShape } from './rewrite-schema.js';
import { applyRewrite, type CompiledRewrite } from './rewrite.js';

type Prepared = (operation: Operation) => Step;
/** Does a key change operations with these traits? */
type Takes = (does: Traits) => boolean;

/** One key of `rewrite`: the operations it changes, and its step for one of them. */
interface Key<K extends keyof RewriteShape> {
  readonly on: Takes;
  /** It writes to HostConfig, so that the legacy form must be folded first. */
  readonly host: boolean;
  readonly prepare: (value: NonNullable<RewriteShape[K]>, report: ReportAt) => Prepared;
}

type Keys = { readonly [K in Exclude<keyof RewriteShape, 'set' | 'remove' | 'images' | 'pin'>]-?: Key<K> };

const runs: Takes = (does) => does.runs !== undefined;
const runsContainer: Takes = (does) => does.runs === 'container';
const runsOrBuilds: Takes = (does) => does.runs === 'container' || does.builds === 'dockerfile';
const hasImage: Takes = (does) => does.runsImageAt !== undefined || does.pulls === 'image';

/** In the order in which they are taken; `remove` and `set` come before them, images after them. */
const KEYS: Keys = {
  network: {
    on: runsOrBuilds,
    host: true,
    prepare: (value, report) => {
      if ((value.force === undefined) === (value.default === undefined)) {
        report([], 'give exactly one of "force" and "default".');
      }
      return prepareNetwork(value);
    },
  },
  limits: {
    on: (does) => does.limitedAt !== undefined,
    host: true,
    prepare: (value, report) => {
      if (Object.keys(value).length === 0) report([], 'give at least one of memory, cpus, pids.');
      return prepareLimits(value, report);
    },
  },
  // Services have it since API 1.46 only, and older engines drop the field without a word.
  noNewPrivileges: { on: runsContainer, host: true, prepare: () => () => noNewPrivileges },
  readOnlyRoot: { on: runs, host: true, prepare: () => setOption('ReadonlyRootfs', 'ReadOnly', true) },
  dropCapabilities: { on: runs, host: true, prepare: prepareDropCapabilities },
  user: { on: (does) => does.userAt !== undefined, host: false, prepare: prepareUser },
  init: { on: runs, host: true, prepare: () => setOption('Init', 'Init', true) },
  dns: { on: runs, host: true, prepare: prepareDns },
  proxy: {
    on: runsOrBuilds,
    host: false,
    prepare: (value, report) => {
      if (Object.keys(value).length === 0) report([], 'give at least one of http, https, no.');
      return prepareProxy(value);
    },
  },
  runtime: {
    on: runsContainer,
    host: true,
    prepare: (value) => setOption('Runtime', '', value),
  },
  labels: { on: (does) => does.labelsAt !== undefined, host: false, prepare: prepareLabels },
};

/**
 * Compiles the `rewrite` of one rule to the steps of each of its operations that it changes. A key that none of them
 * takes is an error, and so is a rewrite whose result the rule itself would not permit.
 */
export function compileRewrite(
  rewrite: RewriteShape,
  operations: readonly OperationId[],
  permit: Permit,
  reportRule: ReportAt,
): ReadonlyMap<OperationId, CompiledRewrite> {
  let broken = false;
  const report: ReportAt = (path, message) => {
    broken = true;
    reportRule(['rewrite', ...path], message);
  };
  const takes = (key: string, on: Takes): boolean => {
    if (operations.length === 0 || operations.some((id) => on(operationOf(id).does))) return true;
    const valid = operationsThat(({ does }) => on(does)).join(', ');
    report([key], `none of the operations of this rule takes "${key}"; it is for ${valid}.`);
    return false;
  };

  const fields = prepareFields(rewrite.remove ?? [], rewrite.set ?? {}, operations, report);
  const prepared: { on: Takes; host: boolean; step: Prepared }[] = [];
  for (const name of Object.keys(KEYS) as (keyof Keys)[]) {
    const value = rewrite[name];
    if (value === undefined) continue;
    const key = KEYS[name] as unknown as Key<keyof Keys>;
    if (!takes(name, key.on)) continue;
    const step = key.prepare(value, (path, message) => report([name, ...path], message));
    prepared.push({ on: key.on, host: key.host, step });
  }
  const { images, pin } = rewrite;
  if (images !== undefined || pin !== undefined) {
    const named = images === undefined ? 'pin' : 'images';
    if (takes(named, hasImage)) {
      prepared.push({ on: hasImage, host: false, step: prepareImages(images ?? {}, pin ?? {}, report) });
    }
  }
  if (Object.keys(rewrite).length === 0)
    report([], 'found an empty object; say what to rewrite, or remove the key.');

  const compiled = new Map<OperationId, CompiledRewrite>();
  if (broken) return compiled;
  for (const id of operations) {
    const operation = operationOf(id);
    const applicable = prepared.filter((key) => key.on(operation.does));
    const steps = [...(fields.steps.get(id) ?? []), ...applicable.map((key) => key.step(operation))];
    if (steps.length === 0) continue;
    const host = fields.touchesHost || applicable.some((key) => key.host);
    compiled.set(id, runsContainer(operation.does) && host ? [foldLegacy, ...steps] : steps);
  }
  checkPermitted(compiled, permit, report);
  return compiled;
}

const NOBODY = { listener: 'x', address: '192.0.2.1', port: 1, certificate: [], tokenSha256: '' };

function emptyCall(operation: Operation): Call {
  const { body } = operation;
  return {
    id: 'x',
    operation,
    apiVersion: '1.41',
    path: Object.create(null) as Record<string, string>,
    query: {},
    headers: {},
    body:
      body.kind === 'json'
        ? { kind: 'json', value: Object.create(null) as JsonObject }
        : body.kind === 'none'
          ? body
          : { kind: 'stream', contentType: body.contentType, present: false },
    unknown: [],
    upgrade: '',
    client: NOBODY,
  };
}

/** What a rewrite adds is a hazard as if the client had sent it: without its permit no call passes. */
function checkPermitted(
  compiled: ReadonlyMap<OperationId, CompiledRewrite>,
  permit: Permit,
  report: ReportAt,
): void {
  const reported = new Set<string>();
  for (const [id, rewrite] of compiled) {
    const call = emptyCall(operationOf(id));
    const before = new Set(inspect(call).hazards.map(formatHazard));
    const after = applyRewrite(call, rewrite, { source: 'x', call: 'x', client: 'x' }).call;
    for (const hazard of inspect(after).hazards) {
      const text = formatHazard(hazard);
      if (before.has(text) || covers(permit, hazard) || reported.has(text)) continue;
      reported.add(text);
      report(
        [],
        `the rewritten ${id} has the hazard ${JSON.stringify(text)}, which this rule does not permit, so that it would allow nothing; add it to permit.`,
      );
    }
  }
}

import { mayBeBefore, type Call } from '../docker/call.js';
import { NO_ENTITIES, type Entities } from '../docker/entities.js';
import { byOperation } from '../docker/catalogue.js';
import { type JsonValue, asObject, asString } from '../base/json.js';
import type { OperationId } from '../docker/operation.js';
import { credentialHosts } from '../docker/registry-auth.js';
import type { IndicatorIndex } from '../intel/indicator.js';
import { EMPTY_INDEX } from '../intel/indicator-index.js';
import { inspectFilters } from './engine-load.js';
import { inspectBuild } from './build.js';
import { inspectContainerCreate, inspectContainerStart, inspectContainerUpdate } from './container.js';
import { inspectArchive, inspectAttach, inspectExec, inspectTop } from './exec.js';
import {
  named,
  newFindings,
  NOTHING,
  addHazard,
  setFact,
  type Findings,
  type ContextMatches,
  type Inspection,
} from './inspection.js';
import {
  inspectCommit,
  inspectDistribution,
  inspectImage,
  inspectImageCreate,
  inspectImages,
  inspectLoad,
  inspectLogin,
  inspectPush,
  inspectSearch,
  inspectTag,
} from './images.js';
import { inspectIndicators } from './indicators.js';
import { inspectNetworkConnect, inspectNetworkCreate } from './network.js';
import { cleanPath } from './host-access.js';
import {
  actsOnSwarm,
  any,
  attaches,
  builds,
  changesPlugins,
  commits,
  createsExec,
  createsNetwork,
  createsVolume,
  definesConfig,
  definesSecret,
  handlesCheckpoints,
  isOpaque,
  joinsNetwork,
  leavesNetwork,
  listsProcesses,
  loadsImages,
  logsIn,
  looksUpImage,
  looksUpPlugin,
  namesImage,
  namesImages,
  pullsImage,
  pushesImage,
  removesByForce,
  renamesContainer,
  retags,
  runsContainer,
  runsService,
  searchesImages,
  sendsSignal,
  startsContainer,
  takesFiles,
  updatesContainer,
  updatesVolume,
} from './operations.js';
import { inspectOwner } from './ownership.js';
import { inspectPlugin, inspectPluginPrivileges } from './plugins.js';
import { queryFlag, queryJson, queryText } from './call-values.js';
import { COMPLETING, sequencesOf, withSequences, type SequenceView } from './sequences.js';
import { inspectService } from './service.js';
import { inspectConfig, inspectSecret, inspectSwarm } from './swarm.js';
import { inspectVolumeCreate, inspectVolumeUpdate } from './mounts.js';

/** Inspects one call. `body` is the decoded JSON body, null for calls without one. */
type Inspector = (body: JsonValue, findings: Findings, call: Call) => void;

const force: Inspector = (_body, findings, call) => setFact(findings, 'force', queryFlag(call, 'force'));
const signal: Inspector = (_body, findings, call) => {
  // A stop or a restart sends the container's own signal up to 1.41, a kill the given one in all versions.
  const ignored = call.operation.query['t'] !== undefined && mayBeBefore(call, 42);
  setFact(findings, 'signal', ignored ? '' : queryText(call, 'signal'));
};

const checkpoint: Inspector = (body, findings, call) => {
  const { CheckpointDir, CheckpointID } = asObject(body);
  const directory = asString(CheckpointDir) || queryText(call, 'dir');
  const name = asString(CheckpointID) || (call.path['checkpoint'] ?? '');
  addHazard(findings, 'checkpoint', directory === '' ? name : cleanPath(directory));
};

const rename: Inspector = (_body, findings, call) => {
  const name = queryText(call, 'name');
  setFact(findings, 'container.name', name.startsWith('/') ? name.slice(1) : name);
};

/** Inspectors by operationId. An operation that is not here has its name as its only fact, and its unknown fields as hazards. */
export const INSPECTORS: ReadonlyMap<OperationId, readonly Inspector[]> = byOperation<Inspector>([
  [builds, inspectBuild],
  [isOpaque, (_body, findings, { operation }) => addHazard(findings, 'opaque', operation.does.opaque!)],
  [pullsImage, inspectImageCreate],
  [loadsImages, inspectLoad],
  [commits, inspectCommit],
  [namesImage, inspectImage],
  [retags, inspectTag],
  [pushesImage, inspectPush],
  [namesImages, inspectImages],
  [searchesImages, inspectSearch],
  [looksUpImage, inspectDistribution],
  [logsIn, inspectLogin],
  [runsContainer, inspectContainerCreate],
  [startsContainer, inspectContainerStart],
  [updatesContainer, inspectContainerUpdate],
  [renamesContainer, rename],
  [removesByForce, force],
  [sendsSignal, signal],
  [listsProcesses, inspectTop],
  [attaches, inspectAttach],
  [takesFiles, inspectArchive],
  [createsExec, inspectExec],
  [handlesCheckpoints, checkpoint],
  [createsVolume, inspectVolumeCreate],
  [updatesVolume, inspectVolumeUpdate],
  [createsNetwork, inspectNetworkCreate],
  [any(joinsNetwork, leavesNetwork), inspectNetworkConnect],
  [looksUpPlugin, inspectPluginPrivileges],
  [changesPlugins, inspectPlugin],
  [actsOnSwarm, inspectSwarm],
  [runsService, inspectService],
  [definesSecret, inspectSecret],
  [definesConfig, inspectConfig],
]);

// The protocols that clients upgrade to on connections that become raw streams. Elsewhere engines ignore Upgrade.
const PROTOCOLS = new Set(['', 'tcp', 'websocket', 'h2c']);

/** The daemon sends the credentials in them to a registry: from the host, text of the caller's choice. */
const REGISTRY_HEADERS = ['x-registry-auth', 'x-registry-config'] as const;

const NO_INSPECTORS: readonly Inspector[] = [];

const NO_MATCHES: ContextMatches = Object.freeze({ matches: Object.freeze([]), truncated: false });

/** Is this a name such as `own/peer` in the path of a container operation? See `link-alias`. A leading slash is ignored. */
function isLinkAlias(call: Call, name: string): boolean {
  return name.includes('/', 1) && call.operation.path.startsWith('/containers/');
}

/**
 * Turns a call into its facts and hazards. Pure: no state, no I/O. It does not throw on a Call that the reader
 * made, and values of a wrong type are read as absent where Go refuses them.
 * INVARIANT: every unknown field of the call is a hazard.
 *
 * @param index the indicators; with an empty index nothing is searched.
 * @param matches indicators that were found in the build context.
 * @param entities what engine and host say of what the call names.
 * @param history the calls before; without it, no sequences are looked for.
 */
export function inspect(
  call: Call,
  index: IndicatorIndex = EMPTY_INDEX,
  matches: ContextMatches = NO_MATCHES,
  entities: Entities = NO_ENTITIES,
  history?: SequenceView,
): Inspection {
  const { id, does, response, headers } = call.operation;
  const probing = history?.settings.probing ?? false;
  const mayComplete =
    (probing !== false && probing.action === 'deny') ||
    (COMPLETING.has(id) && (does.runs === undefined || history?.knowsOrigins === true));
  const sequences = mayComplete ? history : undefined;
  const inspectors = INSPECTORS.get(id);
  const { counts } = index;
  // Where nothing is listed, nothing is looked for.
  const hasIndicators = counts.ipv4 + counts.ipv6 + counts.domain + counts.url + counts.hash > 0;
  if (
    !hasIndicators &&
    inspectors === undefined &&
    sequences === undefined &&
    entities.objects === undefined &&
    call.unknown.length === 0 &&
    call.query['filters'] === undefined &&
    response !== 'hijack' &&
    headers.length === 0
  ) {
    const name = call.path['id'] ?? call.path['name'];
    if (name === undefined) return NOTHING;
    if (!isLinkAlias(call, name)) return named(name);
  }
  const inspection = inspectAll(
    call,
    inspectors ?? NO_INSPECTORS,
    hasIndicators ? index : undefined,
    matches,
    entities,
  );
  if (sequences === undefined) return inspection;
  const completed = sequencesOf(call, inspection, { ...sequences.context(), entities });
  return completed.length === 0 ? inspection : withSequences(inspection, completed);
}

/**
 * Not everything was inspected, because it costs too much.
 * INVARIANT: that is a hazard, and no condition holds because a list is shorter than it should be.
 */
function forgetLists(findings: Findings): void {
  addHazard(findings, 'opaque', 'work');
  const known = Object.entries(findings.facts).filter(
    ([name, value]) => typeof value !== 'object' || name === 'build.unclear',
  );
  findings.facts = Object.fromEntries(known);
}

/** All that one call by itself shows. */
function inspectAll(
  call: Call,
  inspectors: readonly Inspector[],
  index: IndicatorIndex | undefined,
  matches: ContextMatches,
  entities: Entities,
): Inspection {
  const findings = newFindings(call.work);
  if (entities.hostPaths !== undefined) findings.hostPaths = entities.hostPaths;
  if (entities.isHostUnseen === true) findings.isHostUnseen = true;
  const name = call.path['id'] ?? call.path['name'];
  if (name !== undefined) {
    setFact(findings, 'name', name);
    if (isLinkAlias(call, name)) addHazard(findings, 'link-alias', name);
  }
  for (const field of call.unknown) addHazard(findings, 'unknown-field', field.where);
  if (call.operation.response === 'hijack' && !PROTOCOLS.has(call.upgrade))
    addHazard(findings, 'upgrade', call.upgrade);
  for (const header of REGISTRY_HEADERS) {
    const value = call.headers[header];
    if (value === undefined) continue;
    for (const host of credentialHosts(header, value)) {
      addHazard(findings, 'registry-credentials', host === '' ? 'unnamed' : host);
    }
  }
  const body = call.body.kind === 'json' ? call.body.value : null;
  for (const inspector of inspectors) inspector(body, findings, call);
  if (call.query['filters'] !== undefined) inspectFilters(queryJson(call, 'filters'), findings);
  if (entities.objects !== undefined) inspectOwner(call, entities.objects, findings);
  if (findings.work.left < 0) forgetLists(findings);
  const indicatorMatches =
    index === undefined ? NO_MATCHES.matches : inspectIndicators(call, findings, index, matches);
  const { facts, hazards, pending } = findings;
  if (pending === undefined && indicatorMatches.length === 0) return { facts, hazards };
  return {
    facts,
    hazards,
    ...(pending !== undefined && { pending }),
    ...(indicatorMatches.length > 0 && { matches: indicatorMatches }),
  };
}

import type { Call, ObjectKind, Reference } from '../docker/call.js';
import type { Inspection } from './inspection.js';
import { asObject, asString } from './judge.js';
import { queryText, queryTexts } from './query.js';
import {
  at,
  attached,
  bodyOf,
  buildReferences,
  createReferences,
  imageOrRepository,
  inPath,
  network,
  pulledOrImported,
  serviceReferences,
  tagged,
} from './references.js';

type Facts = Inspection['facts'];

/** What an operation has to do with the engine's objects. */
export type Subject =
  /** It names these, or none. */
  | { readonly kind: 'names'; readonly of: (call: Call, facts: Facts) => readonly Reference[] }
  /** It shows, or removes, whatever a filter for labels leaves. */
  | { readonly kind: 'filtered' }
  /** It shows all images. Pulled ones have no label to filter by: those of others are taken out of the answer. */
  | { readonly kind: 'answer' }
  /** It is about what all have in common, and cannot be limited. */
  | { readonly kind: 'engine'; readonly what: string };

const names = (of: (call: Call, facts: Facts) => readonly Reference[]): Subject => ({ kind: 'names', of });
const nothing = names(() => []);
const filtered: Subject = { kind: 'filtered' };
const engine = (what: string): Subject => ({ kind: 'engine', what });

/** The object in the path, and nothing else. */
const one = (kind: ObjectKind, use: Reference['use'] = 'use', parameter = 'id'): Subject =>
  names((call) => [inPath(call, kind, { parameter, use })]);

const container = one('container');
const exec = one('exec');
const image = one('image', 'use', 'name');
const service = one('service');
const task = one('task');
const secret = one('secret');
const config = one('config');

/** A name that may be free: what stands there already is another one's, or the caller's own. */
const newVolume = names((call) => {
  const name = asString(bodyOf(call)['Name']);
  return name === '' ? [] : [{ kind: 'volume', name, use: 'use', optional: true }];
});

const swarm = engine('swarm');
const node = engine('node');
const plugin = engine('plugin');

/**
 * Every operation of the catalogue, by operationId.
 * INVARIANT: what is not here names something that nobody has looked at, see `subjectOf`.
 */
const SUBJECTS: Readonly<Record<string, Subject>> = {
  ContainerList: filtered,
  ContainerCreate: names(createReferences),
  ContainerPrune: filtered,
  ContainerInspect: container,
  ContainerTop: container,
  ContainerLogs: container,
  ContainerChanges: container,
  ContainerStats: container,
  ContainerExport: container,
  ContainerArchiveInfo: container,
  ContainerArchive: container,
  PutContainerArchive: container,
  ContainerCopy: container,
  ContainerResize: container,
  ContainerStart: container,
  ContainerStop: container,
  ContainerRestart: container,
  ContainerKill: container,
  ContainerUpdate: container,
  ContainerRename: container,
  ContainerPause: container,
  ContainerUnpause: container,
  ContainerAttach: container,
  ContainerAttachWebsocket: container,
  ContainerWait: container,
  ContainerDelete: container,
  ContainerExec: container,
  ExecStart: exec,
  ExecResize: exec,
  ExecInspect: exec,
  CheckpointList: container,
  CheckpointCreate: container,
  CheckpointDelete: container,
  ImageList: { kind: 'answer' },
  ImageSearch: nothing,
  ImageGetAll: names((call) => queryTexts(call, 'names').flatMap((name) => imageOrRepository(name))),
  // By name: an archive made by id has no tags.
  ImageGet: names((call) => imageOrRepository(call.path['name'] ?? '')),
  ImageHistory: image,
  ImageInspect: image,
  ImageAttestations: image,
  // Its tags and layers are in the archive, which nobody has read.
  ImageLoad: engine('image-archive'),
  ImageCreate: names(pulledOrImported),
  ImagePush: names((call) => imageOrRepository(call.path['name'] ?? '', queryText(call, 'tag'))),
  ImageTag: names((call) => [inPath(call, 'image', { parameter: 'name' }), ...tagged(call)]),
  ImagePrune: filtered,
  ImageDelete: one('image', 'change', 'name'),
  ImageCommit: names((call) => [
    {
      kind: 'container',
      name: queryText(call, 'container'),
      use: 'use',
      place: { in: 'query', steps: ['container'], before: '', after: '' },
    },
    ...tagged(call),
  ]),
  DistributionInspect: nothing,
  ImageBuild: names(buildReferences),
  BuildPrune: engine('build-cache'),
  BuildCancel: engine('build'),
  Session: engine('buildkit'),
  Grpc: engine('buildkit'),
  SwarmInspect: swarm,
  SwarmUnlockkey: swarm,
  SwarmInit: swarm,
  SwarmJoin: swarm,
  SwarmLeave: swarm,
  SwarmUpdate: swarm,
  SwarmUnlock: swarm,
  ServiceList: filtered,
  ServiceInspect: service,
  ServiceLogs: service,
  ServiceCreate: names(serviceReferences),
  ServiceUpdate: names((call) => [inPath(call, 'service'), ...serviceReferences(call)]),
  ServiceDelete: service,
  NodeList: node,
  NodeInspect: node,
  NodeUpdate: node,
  NodeDelete: node,
  TaskList: filtered,
  TaskInspect: task,
  TaskLogs: task,
  SecretList: filtered,
  SecretInspect: secret,
  SecretCreate: nothing,
  SecretUpdate: secret,
  SecretDelete: secret,
  ConfigList: filtered,
  ConfigInspect: config,
  ConfigCreate: nothing,
  ConfigUpdate: config,
  ConfigDelete: config,
  SystemPing: nothing,
  SystemPingHead: nothing,
  SystemVersion: nothing,
  SystemInfo: nothing,
  SystemEvents: filtered,
  SystemDataUsage: engine('disk-usage'),
  SystemAuth: nothing,
  NetworkList: filtered,
  NetworkInspect: one('network'),
  NetworkCreate: names((call) =>
    network(asString(asObject(bodyOf(call)['ConfigFrom'])['Network']), at(['ConfigFrom', 'Network'])),
  ),
  NetworkConnect: names(attached),
  NetworkDisconnect: names(attached),
  NetworkPrune: filtered,
  NetworkDelete: one('network'),
  VolumeList: filtered,
  VolumeInspect: one('volume', 'use', 'name'),
  VolumeCreate: newVolume,
  VolumePrune: filtered,
  VolumeUpdate: one('volume', 'change', 'name'),
  VolumeDelete: one('volume', 'change', 'name'),
  PluginList: plugin,
  PluginInspect: plugin,
  GetPluginPrivileges: plugin,
  PluginPull: plugin,
  PluginCreate: plugin,
  PluginPush: plugin,
  PluginUpgrade: plugin,
  PluginSet: plugin,
  PluginEnable: plugin,
  PluginDisable: plugin,
  PluginDelete: plugin,
};

const UNKNOWN = engine('unknown');

/** What an operation has to do with objects; one that nobody has looked at is about the engine as a whole. */
export function subjectOf(operation: string): Subject {
  return Object.hasOwn(SUBJECTS, operation) ? SUBJECTS[operation]! : UNKNOWN;
}

/** The objects that a call names. */
export function referencesOf(call: Call, facts: Facts): readonly Reference[] {
  const subject = subjectOf(call.operation.id);
  return subject.kind === 'names' ? subject.of(call, facts) : [];
}

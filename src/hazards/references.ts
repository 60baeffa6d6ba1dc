import type { Call, NamePlace, ObjectKind, Reference } from '../docker/call.js';
import type { JsonObject, JsonValue } from '../docker/json-value.js';
import { joinImageName, formatImageName, shortImageName } from './image-name.js';
import type { Inspection } from './inspection.js';
import { asArray, asObject, asString, asStrings } from './judge.js';
import { queryText, queryTexts } from './query.js';

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

/** Networks that an engine has by itself: they are nobody's, and containers may be in them. */
const PREDEFINED = new Set(['', 'default', 'bridge', 'none', 'host', 'nat', 'ingress']);

const names = (of: (call: Call, facts: Facts) => readonly Reference[]): Subject => ({ kind: 'names', of });
const nothing = names(() => []);
const filtered: Subject = { kind: 'filtered' };
const engine = (what: string): Subject => ({ kind: 'engine', what });

const inPath = (
  call: Call,
  kind: ObjectKind,
  { parameter = 'id', use = 'use' }: { readonly parameter?: string; readonly use?: Reference['use'] } = {},
): Reference => ({
  kind,
  name: call.path[parameter] ?? '',
  use,
  place: { in: 'path', steps: [parameter], before: '', after: '' },
});

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

const tag = (name: string, use: Reference['use'] = 'change'): Reference[] =>
  name === '' ? [] : [{ kind: 'tag', name: shortImageName(name), use, optional: true }];

const at = (steps: readonly (string | number)[], before = '', after = ''): NamePlace => ({
  in: 'body',
  steps: steps.map(String),
  before,
  after,
});

function bodyOf(call: Call): JsonObject {
  return asObject(call.body.kind === 'json' ? call.body.value : null);
}

/** `container:NAME` in any of the fields that take it. */
function joined(host: JsonObject, steps: readonly string[]): Reference[] {
  const prefix = 'container:';
  return ['NetworkMode', 'PidMode', 'IpcMode', 'UTSMode', 'UsernsMode', 'CgroupnsMode', 'Cgroup'].flatMap(
    (field): Reference[] => {
      const mode = asString(host[field]);
      if (!mode.startsWith(prefix)) return [];
      const place = at([...steps, field], prefix);
      return [{ kind: 'container', name: mode.slice(prefix.length), use: 'use', place }];
    },
  );
}

/** `NAME`, `NAME:ALIAS`, and `/NAME:/OWN/ALIAS` as an inspect prints it (opts.ParseLink). */
function linked(value: JsonValue | undefined, steps: readonly (string | number)[]): Reference[] {
  return asStrings(value).flatMap((link, index): Reference[] => {
    const colon = link.indexOf(':');
    const whole = colon < 0 ? link : link.slice(0, colon);
    const slash = whole.startsWith('/') ? '/' : '';
    const name = whole.slice(slash.length);
    const place = at([...steps, index], slash, colon < 0 ? `:${name}` : link.slice(colon));
    return name === '' ? [] : [{ kind: 'container', name, use: 'use', place }];
  });
}

function network(name: string, place?: NamePlace): Reference[] {
  if (PREDEFINED.has(name) || name.startsWith('container:')) return [];
  return [{ kind: 'network', name, use: 'use', ...(place === undefined ? {} : { place }) }];
}

/** A volume that is not there yet is made, by the guard, before the engine would make it without a label. */
const volume = (name: string): Reference[] =>
  name === '' ? [] : [{ kind: 'volume', name, use: 'use', optional: true }];

function mounted(value: JsonValue | undefined): Reference[] {
  return asArray(value).flatMap((item): Reference[] => {
    const mount = asObject(item);
    const source = asString(mount['Source']);
    if (mount['Type'] === 'volume' || mount['Type'] === 'cluster') return volume(source);
    return mount['Type'] === 'image' ? [{ kind: 'image', name: source, use: 'use' }] : [];
  });
}

function hostReferences(host: JsonObject, steps: readonly string[]): Reference[] {
  const binds = asStrings(host['Binds']).flatMap((bind) => {
    const end = bind.indexOf(':');
    return end > 0 && !bind.startsWith('/') ? volume(bind.slice(0, end)) : [];
  });
  const from = asStrings(host['VolumesFrom']).flatMap((entry, index): Reference[] => {
    const [name = ''] = entry.split(':', 1);
    const place = at([...steps, 'VolumesFrom', index], '', entry.slice(name.length));
    return name === '' ? [] : [{ kind: 'container', name, use: 'use', place }];
  });
  return [
    ...joined(host, steps),
    ...network(asString(host['NetworkMode'])),
    ...from,
    ...linked(host['Links'], [...steps, 'Links']),
    ...binds,
    ...mounted(host['Mounts']),
  ];
}

/** The networks of a call that creates a container; NetworkID, where given, wins over the name. */
function endpointReferences(value: JsonValue | undefined, steps: readonly string[]): Reference[] {
  const endpoints = asObject(value);
  return Object.keys(endpoints).flatMap((name) => {
    const endpoint = asObject(endpoints[name]);
    return [
      ...network(name),
      ...network(asString(endpoint['NetworkID']), at([...steps, name, 'NetworkID'])),
      ...linked(endpoint['Links'], [...steps, name, 'Links']),
    ];
  });
}

function createReferences(call: Call): Reference[] {
  const config = bodyOf(call);
  const networking = asObject(config['NetworkingConfig']);
  return [
    { kind: 'image', name: asString(config['Image']), use: 'use', place: at(['Image']) },
    // INVARIANT: the top level too, where engines honour host settings when HostConfig is absent or null.
    ...hostReferences(config, []),
    ...hostReferences(asObject(config['HostConfig']), ['HostConfig']),
    ...endpointReferences(networking['EndpointsConfig'], ['NetworkingConfig', 'EndpointsConfig']),
  ];
}

function serviceReferences(call: Call): Reference[] {
  const spec = bodyOf(call);
  const template = asObject(spec['TaskTemplate']);
  const run = asObject(template['ContainerSpec']);
  const steps = ['TaskTemplate', 'ContainerSpec'];
  const networks = (value: JsonValue | undefined, above: readonly string[]): Reference[] =>
    asArray(value).flatMap((item, index) =>
      network(asString(asObject(item)['Target']), at([...above, 'Networks', index, 'Target'])),
    );
  const files = (field: 'Secrets' | 'Configs', key: string, kind: ObjectKind): Reference[] =>
    asArray(run[field]).map((item, index) => ({
      kind,
      name: asString(asObject(item)[key]),
      use: 'use',
      place: at([...steps, field, index, key]),
    }));
  const attached = asString(asObject(template['NetworkAttachmentSpec'])['ContainerID']);
  const credential = asString(asObject(asObject(run['Privileges'])['CredentialSpec'])['Config']);
  return [
    // Nodes pull it when they have none.
    { kind: 'image', name: asString(run['Image']), use: 'use', optional: true },
    ...networks(template['Networks'], ['TaskTemplate']),
    ...networks(spec['Networks'], []),
    ...files('Secrets', 'SecretID', 'secret'),
    ...files('Configs', 'ConfigID', 'config'),
    ...(attached === '' ? [] : [{ kind: 'container', name: attached, use: 'use' } as const]),
    ...(credential === '' ? [] : [{ kind: 'config', name: credential, use: 'use' } as const]),
    ...mounted(run['Mounts']),
  ];
}

/** A fact names `beef` as `beef:latest`; an engine takes it for the start of an id as well. */
const asWritten = (name: string): string =>
  /^[0-9a-f]+:latest$/.test(name) ? name.slice(0, -':latest'.length) : name;

/** The facts of a build whose Dockerfile is not known yet are not there; it is judged again when they are. */
function buildReferences(call: Call, facts: Facts): Reference[] {
  const list = (name: string): string[] => asStrings(facts[name] as JsonValue | undefined);
  const bases = [...list('build.from'), ...list('build.copy-from'), ...queryTexts(call, 'cachefrom')];
  const mode = queryText(call, 'networkmode');
  const prefix = 'container:';
  return [
    ...queryTexts(call, 't').flatMap((name) => tag(name)),
    ...bases
      .filter((name) => name !== 'scratch' && name !== '?')
      .map((name) => ({ kind: 'image', name: asWritten(name), use: 'use', optional: true }) as const),
    ...network(mode),
    ...(mode.startsWith(prefix)
      ? [
          {
            kind: 'container',
            name: mode.slice(prefix.length),
            use: 'use',
            place: { in: 'query', steps: ['networkmode'], before: prefix, after: '' },
          } as const,
        ]
      : []),
  ];
}

function pulledOrImported(call: Call): Reference[] {
  const from = queryText(call, 'fromImage');
  const name = joinImageName(from === '' ? queryText(call, 'repo') : from, queryText(call, 'tag'));
  if (name === undefined) return [];
  if (from === '') return tag(formatImageName(name));
  // Without tag and digest engines pull all tags there are.
  const whole = name.tag === '' && name.digest === '';
  return whole ? [repository(name.name, 'pull')] : tag(formatImageName(name), 'pull');
}

/** Every image of a name. There need be none yet. */
const repository = (name: string, use: Reference['use']): Reference => ({
  kind: 'repository',
  name,
  use,
  optional: true,
});

/** Without a tag engines push all of them. */
function pushed(call: Call): Reference[] {
  const name = call.path['name'] ?? '';
  const given = joinImageName(name, queryText(call, 'tag'));
  const image = given === undefined ? name : formatImageName(given);
  const whole = given !== undefined && given.tag === '' && given.digest === '';
  return [{ kind: 'image', name: image, use: 'use' }, ...(whole ? [repository(given.name, 'use')] : [])];
}

/** `repo` and `tag` apart. */
function tagged(call: Call): Reference[] {
  const name = joinImageName(queryText(call, 'repo'), queryText(call, 'tag'));
  return name === undefined ? [] : tag(formatImageName(name));
}

function attached(call: Call): Reference[] {
  const { Container, EndpointConfig } = bodyOf(call);
  const id = call.path['id'] ?? '';
  return [
    ...network(id, { in: 'path', steps: ['id'], before: '', after: '' }),
    { kind: 'container', name: asString(Container), use: 'use', place: at(['Container']) },
    ...linked(asObject(EndpointConfig)['Links'], ['EndpointConfig', 'Links']),
  ];
}

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
  ImageGetAll: names((call) =>
    queryTexts(call, 'names').map((name) => ({ kind: 'image', name, use: 'use' }) as const),
  ),
  // By name: an archive made by id has no tags.
  ImageGet: names((call) => [{ kind: 'image', name: call.path['name'] ?? '', use: 'use' }]),
  ImageHistory: image,
  ImageInspect: image,
  ImageAttestations: image,
  // Its tags and layers are in the archive, which nobody has read.
  ImageLoad: engine('image-archive'),
  ImageCreate: names(pulledOrImported),
  ImagePush: names(pushed),
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

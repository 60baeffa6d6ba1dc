import { OPERATIONS } from '../../src/docker/catalogue.js';
import type { Operation } from '../../src/docker/operation.js';

/** Objects of one team, as another one would name them. */
export interface Foreign {
  readonly container: { readonly id: string; readonly name: string };
  readonly exec: string;
  readonly image: { readonly id: string; readonly tag: string };
  readonly volume: string;
  readonly network: { readonly id: string; readonly name: string };
  readonly service: { readonly id: string; readonly name: string };
  readonly task: string;
  readonly secret: string;
  readonly config: string;
}

/** Objects of the caller's own. */
export interface Own {
  readonly container: string;
  readonly network: string;
  readonly volume: string;
  readonly image: string;
}

export interface ForeignCall {
  readonly operation: string;
  readonly what: string;
  readonly method: string;
  readonly path: string;
  readonly body?: object | string;
}

type Names = Readonly<Record<string, string>>;

/** The ways to name each kind: by id, by the start of the id, by name. */
function waysToName({ container, exec, image, volume, network, service, task, secret, config }: Foreign): {
  readonly [kind: string]: Names;
} {
  const [bare = '', tag = ''] = image.tag.split(':');
  return {
    containers: {
      id: container.id,
      'short id': container.id.slice(0, 12),
      'four digits': container.id.slice(0, 4),
      name: container.name,
    },
    exec: { id: exec },
    images: {
      id: image.id,
      'bare id': image.id.slice(7),
      'short id': image.id.slice(7, 19),
      tag: image.tag,
      'full name': `docker.io/${image.tag}`,
      ...(tag === 'latest' ? { name: bare } : {}),
    },
    volumes: { name: volume },
    networks: { id: network.id, 'short id': network.id.slice(0, 12), name: network.name },
    services: { id: service.id, name: service.name },
    tasks: { id: task },
    secrets: { id: secret },
    configs: { id: config },
  };
}

/** Bodies and parameters without which an operation would be refused for another reason. */
const BODIES: Readonly<Record<string, (own: Own) => object | string>> = {
  ContainerUpdate: () => ({ Memory: 8_388_608, MemorySwap: 16_777_216 }),
  ContainerExec: () => ({ Cmd: ['id'], AttachStdout: true }),
  ExecStart: () => ({ Detach: true }),
  ContainerCopy: () => ({ Resource: '/etc/passwd' }),
  PutContainerArchive: () => '\0'.repeat(1024),
  CheckpointCreate: () => ({ CheckpointID: 'x' }),
  NetworkConnect: ({ container }) => ({ Container: container }),
  NetworkDisconnect: ({ container }) => ({ Container: container, Force: true }),
  ServiceUpdate: () => ({ Name: 'x', TaskTemplate: { ContainerSpec: { Image: 'alpine' } } }),
  SecretUpdate: () => ({ Name: 'x', Labels: { a: 'b' } }),
  ConfigUpdate: () => ({ Name: 'x', Labels: { a: 'b' } }),
  VolumeUpdate: () => ({ Spec: { Availability: 'active' } }),
  ImagePush: () => ({}),
};

const QUERIES: Readonly<Record<string, string>> = {
  ContainerArchive: 'path=/etc/passwd',
  ContainerArchiveInfo: 'path=/etc/passwd',
  PutContainerArchive: 'path=/tmp',
  ContainerLogs: 'stdout=1',
  ContainerStats: 'stream=0',
  ContainerRename: 'name=taken-over',
  ContainerStop: 't=0',
  ContainerRestart: 't=0',
  ContainerDelete: 'force=1',
  ContainerAttach: 'logs=1&stdout=1',
  ContainerAttachWebsocket: 'logs=1&stdout=1',
  ContainerResize: 'h=10&w=10',
  ExecResize: 'h=10&w=10',
  ImageDelete: 'force=1',
  ImageTag: 'repo=team-a/stolen&tag=1',
  NetworkDelete: '',
  ServiceUpdate: 'version=1',
  SecretUpdate: 'version=1',
  ConfigUpdate: 'version=1',
  VolumeUpdate: 'version=1',
  VolumeDelete: 'force=1',
  ServiceLogs: 'stdout=1',
  TaskLogs: 'stdout=1',
};

const kindOf = ({ path }: Operation): string => path.split('/')[1] ?? '';

/** Every operation of the catalogue that has an object in its path, on each of the other team's objects, by every name. */
function inPaths(foreign: Foreign, own: Own): ForeignCall[] {
  const ways = waysToName(foreign);
  return OPERATIONS.filter(({ path }) => path.includes('{')).flatMap((operation) => {
    const { id, method, path } = operation;
    return Object.entries(ways[kindOf(operation)] ?? {}).map(([what, name]): ForeignCall => {
      const query = QUERIES[id];
      const filled = path.replace(/\{(?:id|name)\}/, name).replace('{checkpoint}', 'x');
      const body = BODIES[id]?.(own);
      return {
        operation: id,
        what,
        method,
        path: query ? `${filled}?${query}` : filled,
        ...(body === undefined ? {} : { body }),
      };
    });
  });
}

/** The other team's objects inside calls on the caller's own. */
function embedded(foreign: Foreign, own: Own): ForeignCall[] {
  const { container, image, network, volume, service: _service, secret, config } = foreign;
  const create = (what: string, body: object): ForeignCall => ({
    operation: 'ContainerCreate',
    what,
    method: 'POST',
    path: '/containers/create',
    body: { Image: 'alpine', Cmd: ['true'], ...body },
  });
  const host = (what: string, HostConfig: object): ForeignCall[] => [
    create(what, { HostConfig }),
    // Host settings at the top level count where HostConfig is null.
    create(`${what}, legacy form`, { ...HostConfig, HostConfig: null }),
  ];
  const names = [container.id, container.id.slice(0, 10), container.name, `/${container.name}`];
  const service = (what: string, spec: object, run: object = {}): ForeignCall => ({
    operation: 'ServiceCreate',
    what,
    method: 'POST',
    path: '/services/create',
    body: { Name: 'thief', TaskTemplate: { ContainerSpec: { Image: 'alpine', ...run } }, ...spec },
  });
  const file = { Name: 'x', UID: '0', GID: '0', Mode: 292 };
  return [
    ...[image.id, image.id.slice(7, 19), image.tag].map((Image) => create(`image ${Image}`, { Image })),
    ...names.flatMap((name) => [
      ...host(`VolumesFrom ${name}`, { VolumesFrom: [`${name}:ro`] }),
      ...['NetworkMode', 'PidMode', 'IpcMode'].flatMap((field) =>
        host(`${field} ${name}`, { [field]: `container:${name}` }),
      ),
      ...host(`Links ${name}`, { Links: [`${name}:peer`] }),
    ]),
    ...[network.id, network.id.slice(0, 12), network.name].flatMap((name) => [
      ...host(`NetworkMode ${name}`, { NetworkMode: name }),
      create(`endpoint ${name}`, { NetworkingConfig: { EndpointsConfig: { [name]: {} } } }),
    ]),
    create('NetworkID', {
      HostConfig: { NetworkMode: own.network },
      NetworkingConfig: { EndpointsConfig: { [own.network]: { NetworkID: network.id } } },
    }),
    create('links of an endpoint', {
      HostConfig: { NetworkMode: own.network },
      NetworkingConfig: { EndpointsConfig: { [own.network]: { Links: [`${container.name}:peer`] } } },
    }),
    ...host('bind of a volume', { Binds: [`${volume}:/mnt`] }),
    ...host('mount of a volume', { Mounts: [{ Type: 'volume', Source: volume, Target: '/mnt' }] }),
    ...host('mount of an image', { Mounts: [{ Type: 'image', Source: image.tag, Target: '/mnt' }] }),
    {
      operation: 'VolumeCreate',
      what: 'the name of a volume',
      method: 'POST',
      path: '/volumes/create',
      body: { Name: volume },
    },
    ...names.map((Container): ForeignCall => ({
      operation: 'NetworkConnect',
      what: `container ${Container}`,
      method: 'POST',
      path: `/networks/${own.network}/connect`,
      body: { Container },
    })),
    ...names.map((Container): ForeignCall => ({
      operation: 'NetworkDisconnect',
      what: `container ${Container}`,
      method: 'POST',
      path: `/networks/${network.name}/disconnect`,
      body: { Container, Force: true },
    })),
    {
      operation: 'ImageCommit',
      what: 'a container',
      method: 'POST',
      path: `/commit?container=${container.name}&repo=team-a/stolen`,
    },
    {
      operation: 'ImageCommit',
      what: 'over a tag',
      method: 'POST',
      path: `/commit?container=${own.container}&repo=${image.tag.split(':')[0]}&tag=${image.tag.split(':')[1]}`,
    },
    {
      operation: 'ImageTag',
      what: 'over a tag',
      method: 'POST',
      path: `/images/${own.image}/tag?repo=${image.tag.split(':')[0]}&tag=${image.tag.split(':')[1]}`,
    },
    {
      operation: 'ImageGetAll',
      what: 'names',
      method: 'GET',
      path: `/images/get?names=${image.tag}&names=${own.image}`,
    },
    {
      operation: 'ImageCreate',
      what: 'import over a tag',
      method: 'POST',
      path: `/images/create?fromSrc=-&repo=${image.tag.split(':')[0]}&tag=${image.tag.split(':')[1]}`,
      body: '\0'.repeat(1024),
    },
    {
      operation: 'ImageCreate',
      what: 'pull over a tag',
      method: 'POST',
      path: `/images/create?fromImage=${image.tag.split(':')[0]}&tag=${image.tag.split(':')[1]}`,
    },
    {
      operation: 'ImageLoad',
      what: 'an archive that nobody has read',
      method: 'POST',
      path: '/images/load',
      body: '\0'.repeat(1024),
    },
    service('a network', { Networks: [{ Target: network.id }] }),
    service('a secret', {}, { Secrets: [{ SecretID: secret, SecretName: 'b-secret', File: file }] }),
    service('a config', {}, { Configs: [{ ConfigID: config, ConfigName: 'b-config', File: file }] }),
    service('a volume', {}, { Mounts: [{ Type: 'volume', Source: volume, Target: '/mnt' }] }),
    service('an image', {}, { Image: image.tag }),
    { operation: 'SystemDataUsage', what: 'all of it', method: 'GET', path: '/system/df' },
    { operation: 'BuildPrune', what: 'the cache of all', method: 'POST', path: '/build/prune?all=1' },
    { operation: 'NodeList', what: 'nodes', method: 'GET', path: '/nodes' },
    { operation: 'SwarmInspect', what: 'the swarm', method: 'GET', path: '/swarm' },
    { operation: 'SwarmUnlockkey', what: 'the key', method: 'GET', path: '/swarm/unlockkey' },
    { operation: 'PluginList', what: 'plugins', method: 'GET', path: '/plugins' },
  ];
}

export function foreignCalls(foreign: Foreign, own: Own): ForeignCall[] {
  return [...inPaths(foreign, own), ...embedded(foreign, own)];
}

/** What shows or removes many objects at once; it works, and is about the caller's own. */
export const LISTS: readonly {
  readonly operation: string;
  readonly method: string;
  readonly path: string;
}[] = [
  ['ContainerList', 'GET', '/containers/json?all=1'],
  ['ContainerList', 'GET', '/containers/json?all=1&size=1&limit=100'],
  ['ImageList', 'GET', '/images/json?all=1'],
  ['ImageList', 'GET', '/images/json?digests=1'],
  ['NetworkList', 'GET', '/networks'],
  ['VolumeList', 'GET', '/volumes'],
  ['ServiceList', 'GET', '/services'],
  ['TaskList', 'GET', '/tasks'],
  ['SecretList', 'GET', '/secrets'],
  ['ConfigList', 'GET', '/configs'],
  ['SystemEvents', 'GET', '/events?since=0&until=NOW'],
  ['ContainerPrune', 'POST', '/containers/prune'],
  ['NetworkPrune', 'POST', '/networks/prune'],
  ['VolumePrune', 'POST', '/volumes/prune?filters={"all":["1"]}'],
  ['ImagePrune', 'POST', '/images/prune?filters={"dangling":["0"]}'],
].map(([operation = '', method = '', path = '']) => ({ operation, method, path }));

import { isBefore, type Call } from '../docker/call.js';
import { type JsonObject, type JsonValue, asNumber, asObject, asString, asStrings } from '../base/json.js';
import { addToFact, addHazard, setFact, setFacts, type Findings } from './inspection.js';
import { imageFacts } from './image-name.js';
import {
  bounded,
  checked,
  counted,
  eachEntry,
  eachString,
  fields,
  flag,
  inspectFields,
  keptTexts,
  object,
  ownAmount,
  otherThan,
  ownText,
  text,
  variableNames,
  whenSet,
  type FieldInspector,
} from './field-inspectors.js';
import { logConfig } from './logging.js';
import { HOST_MOUNTS, tmpfs, volumeDriver, volumesFrom } from './mounts.js';
import {
  dnsOptions,
  dnsSearch,
  dnsServers,
  extraHosts,
  links,
  macAddress,
  networkingConfig,
  networkName,
  portBindings,
} from './network.js';
import { cleanPath } from './host-access.js';
import { queryText, bodyText } from './call-values.js';
import { healthCheck, oomScore, RESOURCES, restartPolicy } from './resources.js';
import {
  addedCapabilities,
  droppedCapabilities,
  isolation,
  maskedPaths,
  readonlyPaths,
  securityOptions,
  sysctls,
} from './security.js';

/**
 * PidMode, IpcMode, UTSMode, UsernsMode, CgroupnsMode (api/types/container/hostconfig.go).
 *
 * @param own modes that keep the container to itself. Everything else is a hazard.
 */
function namespaceMode(
  namespace: 'pid' | 'ipc' | 'uts' | 'user' | 'cgroup',
  own: readonly string[] = [],
): FieldInspector {
  return otherThan(own, (mode, findings) => {
    if (mode === 'host') addHazard(findings, 'host-namespace', namespace);
    else if (mode.startsWith('container:')) {
      addHazard(findings, 'container-namespace', `${namespace}=${mode.slice('container:'.length)}`);
    } else addHazard(findings, 'namespace', `${namespace}=${mode}`);
  });
}

/** container.Config (api/types/container/config.go). It takes effect inside the container only. */
const CONFIG: Readonly<Record<string, FieldInspector>> = {
  Hostname: ownText,
  Domainname: ownText,
  User: ownText,
  AttachStdin: flag,
  AttachStdout: flag,
  AttachStderr: flag,
  ExposedPorts: counted('entries'),
  PortSpecs: counted('entries'),
  Tty: flag,
  OpenStdin: flag,
  StdinOnce: flag,
  Env: keptTexts,
  Cmd: keptTexts,
  Healthcheck: healthCheck,
  ArgsEscaped: flag,
  Image: ownText,
  // Keys are destinations of anonymous volumes, never sources (daemon/create_unix.go).
  Volumes: eachEntry(
    (target, _value, findings) => addToFact(findings, 'mounts', `:${cleanPath(target)}:rw`),
    'volumes',
  ),
  WorkingDir: ownText,
  Entrypoint: keptTexts,
  NetworkDisabled: flag,
  MacAddress: macAddress,
  OnBuild: eachString((instruction, findings) => addHazard(findings, 'on-build', instruction)),
  Labels: keptTexts,
  StopSignal: ownText,
  StopTimeout: bounded('stop-timeout'),
  Shell: keptTexts,
};

/** container.HostConfig (api/types/container/hostconfig.go). */
const HOST_CONFIG: Readonly<Record<string, FieldInspector>> = {
  ...RESOURCES,
  ...HOST_MOUNTS,
  ContainerIDFile: text((path, findings) => addHazard(findings, 'container-id-file', cleanPath(path))),
  LogConfig: logConfig,
  NetworkMode: networkName,
  PortBindings: portBindings,
  RestartPolicy: restartPolicy,
  AutoRemove: flag,
  VolumeDriver: volumeDriver,
  VolumesFrom: volumesFrom,
  ConsoleSize: checked,
  Annotations: eachEntry((key, _value, findings) => addHazard(findings, 'annotation', key)),
  // Engines of API 1.40 take it in place of the whole default set.
  Capabilities: addedCapabilities,
  CapAdd: addedCapabilities,
  CapDrop: droppedCapabilities,
  CgroupnsMode: namespaceMode('cgroup', ['private']),
  Dns: dnsServers,
  DnsOptions: dnsOptions,
  DnsSearch: dnsSearch,
  ExtraHosts: extraHosts,
  GroupAdd: eachString((group, findings) => addHazard(findings, 'group-add', group)),
  IpcMode: namespaceMode('ipc', ['private', 'none']),
  Cgroup: namespaceMode('cgroup', ['private']),
  Links: links,
  OomScoreAdj: oomScore,
  PidMode: namespaceMode('pid'),
  Privileged: whenSet((findings) => addHazard(findings, 'privileged')),
  PublishAllPorts: whenSet((findings) => addHazard(findings, 'publish-all')),
  ReadonlyRootfs: flag,
  SecurityOpt: securityOptions,
  StorageOpt: eachEntry((key, value, findings) =>
    addHazard(findings, 'storage-option', `${key}=${asString(value)}`),
  ),
  Tmpfs: tmpfs,
  UTSMode: namespaceMode('uts'),
  UsernsMode: namespaceMode('user'),
  ShmSize: ownAmount,
  Sysctls: sysctls,
  Runtime: otherThan(['runc'], (runtime, findings) => addHazard(findings, 'runtime', runtime)),
  Isolation: isolation,
  MaskedPaths: maskedPaths,
  ReadonlyPaths: readonlyPaths,
  Init: flag,
};

/**
 * The body of ContainerCreate. INVARIANT: HostConfig fields are judged at the top level too, where engines honour
 * them when HostConfig is absent or null (runconfig/config_unix.go), and also when it is present.
 */
const CREATE = fields(HOST_CONFIG, CONFIG, {
  HostConfig: object(fields(HOST_CONFIG)),
  NetworkingConfig: networkingConfig,
});

const HOST = fields(HOST_CONFIG);
const UPDATE = fields(RESOURCES, { RestartPolicy: restartPolicy });

/** Facts about amounts, from a HostConfig or an update's body. */
function resourceFacts(from: JsonObject): {
  memory: number;
  cpus: number;
  pids: number;
  restart: string;
} {
  return {
    memory: asNumber(from['Memory']),
    cpus: asNumber(from['NanoCpus']) / 1e9,
    pids: asNumber(from['PidsLimit']),
    restart: asString(asObject(from['RestartPolicy'])['Name']),
  };
}

export function inspectContainerCreate(body: JsonValue, findings: Findings, call: Call): void {
  const config = asObject(body);
  const hostConfig = config['HostConfig'] ?? null;
  const host = hostConfig === null ? config : asObject(hostConfig);
  const given = queryText(call, 'name');
  const { image, registry, tag, digest } = imageFacts(bodyText(call, call.operation.does.runsImageAt!));
  const { memory, cpus, pids, restart } = resourceFacts(host);
  // A path without a version means the engine's newest, 1.41 at the least.
  const minor = call.apiVersion === '' ? Infinity : Number(call.apiVersion.slice(2));
  setFacts(findings, {
    image,
    registry,
    'image.tag': tag,
    'image.digest': digest,
    platform: minor < 41 ? '' : queryText(call, 'platform'),
    'container.name': given.startsWith('/') ? given.slice(1) : given,
    command: asStrings(config['Cmd']),
    entrypoint: asStrings(config['Entrypoint']),
    user: asString(config['User']),
    workdir: asString(config['WorkingDir']),
    hostname: asString(config['Hostname']),
    env: variableNames(config['Env']),
    labels: Object.keys(asObject(config['Labels'])),
    'network.mode': asString(host['NetworkMode']),
    'read-only': host['ReadonlyRootfs'] === true,
    'auto-remove': host['AutoRemove'] === true,
    memory,
    cpus,
    pids,
    restart,
    // Lists that inspectors add to; set even when they stay empty, so that a condition always has a value.
    mounts: [],
    networks: [],
    'network.aliases': [],
    publish: [],
    'capabilities.add': [],
    'capabilities.drop': [],
  });
  // Defaults of older API versions (router/container/container_routes.go, postContainersCreate), see api-versions.ts.
  if (minor < 40 && asString(host['IpcMode']) === '') addHazard(findings, 'namespace', 'ipc=shareable');
  if (minor < 41 && asString(host['CgroupnsMode']) === '') addHazard(findings, 'host-namespace', 'cgroup');
  inspectFields(CREATE, body, findings, '');
}

export function inspectContainerUpdate(body: JsonValue, findings: Findings, call: Call): void {
  setFacts(findings, resourceFacts(asObject(body)));
  if (isBefore(call, 40)) setFact(findings, 'pids', 0);
  inspectFields(UPDATE, body, findings, '');
}

/** Engines below API 1.24 take a HostConfig here, and a checkpoint may come from any directory of the host. */
export function inspectContainerStart(body: JsonValue, findings: Findings, call: Call): void {
  const directory = queryText(call, 'checkpoint-dir');
  const checkpoint = queryText(call, 'checkpoint');
  if (directory !== '') addHazard(findings, 'checkpoint', cleanPath(directory));
  else if (checkpoint !== '') addHazard(findings, 'checkpoint', checkpoint);
  inspectFields(HOST, body, findings, '');
}

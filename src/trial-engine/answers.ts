import type { TrialContainer, TrialImage, TrialStore } from './store.js';

export const trialName = 'Breakwater trial engine (in memory, runs nothing)';
export const trialApiVersion = '1.41';
export const trialMinApiVersion = '1.24';

const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
const release = '0.1.0-trial';

/** `GET /version` (types.Version). */
export function versionAnswer(): unknown {
  const details = {
    ApiVersion: trialApiVersion,
    MinAPIVersion: trialMinApiVersion,
    Os: 'linux',
    Arch: architecture,
  };
  return {
    Platform: { Name: trialName },
    Components: [{ Name: 'Engine', Version: release, Details: details }],
    Version: release,
    ApiVersion: trialApiVersion,
    MinAPIVersion: trialMinApiVersion,
    GitCommit: '',
    GoVersion: '',
    Os: 'linux',
    Arch: architecture,
    KernelVersion: '',
    BuildTime: '',
  };
}

/** `GET /info` (types.Info): what the docker CLI and the SDKs read of it. */
export function infoAnswer(store: TrialStore): unknown {
  const exited = [...store.containers.values()].filter(
    (container) => container.exitedAt !== undefined,
  ).length;
  return {
    ID: 'breakwater-trial-engine',
    Name: 'breakwater-trial-engine',
    ServerVersion: trialName,
    Warnings: [`WARNING: this is the ${trialName}; point Breakwater at a real engine with --upstream`],
    Containers: store.containers.size,
    ContainersRunning: 0,
    ContainersPaused: 0,
    ContainersStopped: exited,
    Images: store.images.size,
    Driver: 'memory',
    DriverStatus: [['Backing store', 'none']],
    Plugins: { Volume: [], Network: [], Authorization: [], Log: [] },
    MemoryLimit: true,
    SwapLimit: true,
    CpuCfsPeriod: true,
    CpuCfsQuota: true,
    CPUShares: true,
    CPUSet: true,
    PidsLimit: true,
    OomKillDisable: true,
    IPv4Forwarding: true,
    BridgeNfIptables: true,
    BridgeNfIp6tables: true,
    Debug: false,
    NFd: 0,
    NGoroutines: 0,
    NEventsListener: 0,
    SystemTime: new Date().toISOString(),
    LoggingDriver: 'json-file',
    CgroupDriver: 'none',
    CgroupVersion: '2',
    KernelVersion: '',
    OperatingSystem: trialName,
    OSVersion: '',
    OSType: 'linux',
    Architecture: architecture,
    NCPU: 0,
    MemTotal: 0,
    IndexServerAddress: '',
    RegistryConfig: { InsecureRegistryCIDRs: [], IndexConfigs: {}, Mirrors: [] },
    GenericResources: null,
    DockerRootDir: '',
    HttpProxy: '',
    HttpsProxy: '',
    NoProxy: '',
    Labels: [],
    ExperimentalBuild: false,
    Runtimes: {},
    DefaultRuntime: 'none',
    Swarm: {
      NodeID: '',
      NodeAddr: '',
      LocalNodeState: 'inactive',
      ControlAvailable: false,
      Error: '',
      RemoteManagers: null,
    },
    LiveRestoreEnabled: false,
    Isolation: '',
    InitBinary: '',
    ContainerdCommit: { ID: '', Expected: '' },
    RuncCommit: { ID: '', Expected: '' },
    InitCommit: { ID: '', Expected: '' },
    SecurityOptions: [],
  };
}

/** One entry of `GET /images/json`. */
export function imageSummary(image: TrialImage): unknown {
  return {
    Id: image.id,
    ParentId: '',
    RepoTags: image.tags.length > 0 ? image.tags : ['<none>:<none>'],
    RepoDigests: [],
    Created: image.created,
    Size: 0,
    VirtualSize: 0,
    SharedSize: -1,
    Containers: -1,
    Labels: image.labels,
  };
}

/** `GET /images/{name}/json`. */
export function imageInspect(image: TrialImage): unknown {
  return {
    Id: image.id,
    RepoTags: image.tags,
    RepoDigests: [],
    Parent: '',
    Comment: trialName,
    Created: new Date(image.created * 1000).toISOString(),
    Container: '',
    DockerVersion: release,
    Author: '',
    Config: { Cmd: ['/bin/sh'], Env: [], Labels: image.labels },
    Architecture: architecture,
    Os: 'linux',
    Size: 0,
    VirtualSize: 0,
    GraphDriver: { Name: 'memory', Data: null },
    RootFS: { Type: 'layers', Layers: [] },
    Metadata: { LastTagTime: '0001-01-01T00:00:00Z' },
  };
}

/** One entry of `GET /containers/json`. */
export function containerSummary(container: TrialContainer): unknown {
  return {
    Id: container.id,
    Names: [`/${container.name}`],
    Image: container.imageName,
    ImageID: container.image.id,
    Command: commandOf(container).join(' ').slice(0, 1024),
    Created: Math.floor(container.created.getTime() / 1000),
    Ports: [],
    Labels: container.config['Labels'] ?? {},
    State: container.exitedAt === undefined ? 'created' : 'exited',
    Status: container.exitedAt === undefined ? 'Created' : 'Exited (0), nothing was run',
    HostConfig: { NetworkMode: 'none' },
    NetworkSettings: { Networks: {} },
    Mounts: [],
  };
}

/** `GET /containers/{id}/json`. */
export function containerInspect(container: TrialContainer): unknown {
  const [path = '', ...args] = commandOf(container);
  const never = '0001-01-01T00:00:00Z';
  return {
    Id: container.id,
    Created: container.created.toISOString(),
    Path: path,
    Args: args,
    State: {
      Status: container.exitedAt === undefined ? 'created' : 'exited',
      Running: false,
      Paused: false,
      Restarting: false,
      OOMKilled: false,
      Dead: false,
      Pid: 0,
      ExitCode: 0,
      Error: '',
      StartedAt: container.exitedAt?.toISOString() ?? never,
      FinishedAt: container.exitedAt?.toISOString() ?? never,
    },
    Image: container.image.id,
    ResolvConfPath: '',
    HostnamePath: '',
    HostsPath: '',
    LogPath: '',
    Name: `/${container.name}`,
    RestartCount: 0,
    Driver: 'memory',
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    ExecIDs: null,
    HostConfig: {
      NetworkMode: 'none',
      LogConfig: { Type: 'json-file', Config: {} },
      ...container.hostConfig,
    },
    GraphDriver: { Name: 'memory', Data: null },
    Mounts: [],
    Config: { Hostname: container.id.slice(0, 12), Env: [], Cmd: null, Labels: {}, ...container.config },
    NetworkSettings: { Bridge: '', Ports: {}, Networks: {} },
  };
}

/** The lines of the classic builder's progress stream, each one JSON object (jsonmessage.JSONMessage). */
export function buildProgress(
  image: TrialImage,
  contextBytes: number,
  remote: string,
  quiet: boolean,
): unknown[] {
  if (quiet) return [{ stream: `${image.id}\n` }];
  const context =
    remote === ''
      ? `The context (${contextBytes} bytes) was read and thrown away`
      : 'The remote context was not fetched';
  return [
    { stream: `${trialName}\n` },
    { stream: `${context}; no instruction was run and nothing was contacted. The image is only a name.\n` },
    { aux: { ID: image.id } },
    { stream: `Successfully built ${image.id.slice(7, 19)}\n` },
    ...image.tags.map((tag) => ({ stream: `Successfully tagged ${tag}\n` })),
  ];
}

/** What a container "printed": nothing before its first start, then one line that says what was not run. */
export function logText(container: TrialContainer): string {
  if (container.exitedAt === undefined) return '';
  const command = JSON.stringify(commandOf(container)).slice(0, 1024);
  return `${trialName}: nothing was run. The command would have been ${command}\n`;
}

/** One frame of Docker's multiplexed stream on stdout: type 1, three zero bytes, length (moby, pkg/stdcopy). */
export function stdcopyFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  const head = Buffer.alloc(8);
  head.writeUInt8(1, 0);
  head.writeUInt32BE(payload.length, 4);
  return Buffer.concat([head, payload]);
}

/** Entrypoint and Cmd as the client gave them; either may be a string (strslice.StrSlice). */
export function commandOf(container: TrialContainer): string[] {
  const words = [container.config['Entrypoint'], container.config['Cmd']].flatMap((value) =>
    typeof value === 'string' ? [value] : Array.isArray(value) ? value.map(String) : [],
  );
  return words.length > 0 ? words : ['/bin/sh'];
}

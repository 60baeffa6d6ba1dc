import type { OperationId } from '../operation.js';

/** How engines read a call of an older API version otherwise. */
export interface VersionDifference {
  readonly operations: readonly OperationId[];
  /** Minor number: it holds for calls before 1.`before`. */
  readonly before: number;
  /** What engines do with such a call. */
  readonly engine: string;
  /**
   * What the guard makes of it. `follows`: facts and hazards are those of the version. `either`: the call is judged as if
   * both readings held, and so has every hazard of each. `same`: nothing that a policy can ask for differs.
   */
  readonly guard: 'follows' | 'either' | 'same';
  readonly reading: string;
}

const CREATE = ['ContainerCreate'] as const;
const SERVICES = ['ServiceCreate', 'ServiceUpdate'] as const;

/**
 * Every comparison of versions in moby's routers (daemon/server/router and api/server/router, v20.10.24, v26.1.5 and HEAD)
 * that changes what is read of a request from 1.24 on. Those that only change an answer are not here.
 */
export const VERSION_DIFFERENCES: readonly VersionDifference[] = [
  // ---- containers
  {
    operations: ['ContainerAttachWebsocket'],
    before: 42,
    engine:
      'Attaches input and both outputs, whatever `stdin`, `stdout` and `stderr` say; 20.10 always does.',
    guard: 'follows',
    reading: '`attach.stdin` is true and `attach-stdin` is raised, without a version too.',
  },
  {
    operations: CREATE,
    before: 40,
    engine: 'No IpcMode means `shareable`.',
    guard: 'follows',
    reading: '`namespace:ipc=shareable`.',
  },
  {
    operations: CREATE,
    before: 41,
    engine: 'No CgroupnsMode means `host` on a host with cgroup v1, whatever the daemon’s default is.',
    guard: 'follows',
    reading: '`host-namespace:cgroup`; on a host with cgroup v2 the mode is private all the same.',
  },
  {
    operations: CREATE,
    before: 41,
    engine: 'Ignores `platform`.',
    guard: 'follows',
    reading: '`platform` is empty.',
  },
  {
    operations: CREATE,
    before: 40,
    engine: 'Ignores BindOptions.NonRecursive: what is mounted below the source comes along.',
    guard: 'same',
    reading: '`bind` is about everything below its path.',
  },
  {
    operations: CREATE,
    before: 44,
    engine: 'A read-only bind does not make read-only what is mounted below its source.',
    guard: 'same',
    reading: '`ro` in `mounts` is about the mount itself, as in engines before 25.',
  },
  {
    operations: CREATE,
    before: 42,
    engine: 'Ignores options of a mount of another type, BindOptions.CreateMountpoint and ConsoleSize.',
    guard: 'either',
    reading: 'All options of a mount are judged.',
  },
  {
    operations: CREATE,
    before: 43,
    engine: 'Ignores Annotations.',
    guard: 'either',
    reading: '`annotation` is raised.',
  },
  {
    operations: [...CREATE, ...SERVICES],
    before: 44,
    engine: 'Ignores the StartInterval of a health check.',
    guard: 'either',
    reading: '`engine-load:health-interval` is raised.',
  },
  {
    operations: CREATE,
    before: 44,
    engine:
      'Takes the container’s MacAddress, not that of an endpoint; from 1.52 on only that of an endpoint.',
    guard: 'either',
    reading: '`mac-address` is raised for both.',
  },
  {
    operations: CREATE,
    before: 48,
    engine:
      'Ignores GwPriority; moves settings of `eth0` from Sysctls to the driver’s options, which newer versions refuse.',
    guard: 'either',
    reading: '`sysctl` is raised.',
  },
  {
    operations: CREATE,
    before: 53,
    engine:
      'An empty list in PortBindings is a port on every interface; today’s engines read it so in newer versions too.',
    guard: 'either',
    reading: '`publish:0.0.0.0:0` is raised.',
  },
  {
    operations: CREATE,
    before: 41,
    engine: 'In 1.40 alone, Capabilities replaces the default set; newer versions ignore it.',
    guard: 'either',
    reading: '`capability` is raised.',
  },
  {
    operations: ['ContainerUpdate'],
    before: 40,
    engine: 'Ignores PidsLimit.',
    guard: 'follows',
    reading: '`pids` is 0.',
  },
  {
    operations: ['ContainerUpdate'],
    before: 55,
    engine: 'Ignores limits for block devices.',
    guard: 'either',
    reading: '`block-device` is raised.',
  },
  {
    operations: ['ContainerStop', 'ContainerRestart'],
    before: 42,
    engine: 'Ignores `signal`: the container’s own is sent; 20.10 always does so.',
    guard: 'follows',
    reading: '`signal` is empty, without a version too.',
  },
  {
    operations: ['ContainerWait'],
    before: 30,
    engine: 'Ignores `condition`; below 1.34 the end of a removal has no error.',
    guard: 'same',
    reading: 'Nobody can do more by waiting.',
  },
  {
    operations: ['ContainerExec', 'ExecStart'],
    before: 42,
    engine: 'Ignores ConsoleSize.',
    guard: 'same',
    reading: 'The size of a terminal.',
  },
  {
    operations: ['ContainerStats'],
    before: 41,
    engine: 'Ignores `one-shot`: the answer comes a second later.',
    guard: 'same',
    reading: 'The same figures.',
  },
  {
    operations: ['ContainerLogs'],
    before: 54,
    engine: 'Ignores `format` and the Accept header.',
    guard: 'same',
    reading: 'The same lines.',
  },
  // ---- images and builds
  {
    operations: ['ImageCreate'],
    before: 32,
    engine: 'Ignores `platform`.',
    guard: 'follows',
    reading: '`platform` is empty.',
  },
  {
    operations: ['ImageBuild'],
    before: 32,
    engine: 'Ignores `platform`.',
    guard: 'follows',
    reading: '`build.platform` is empty, and no variable of the Dockerfile has it.',
  },
  {
    operations: ['ImageBuild'],
    before: 40,
    engine: 'Ignores `outputs`.',
    guard: 'either',
    reading: '`opaque:buildkit` is raised.',
  },
  {
    operations: ['BuildPrune'],
    before: 48,
    engine: 'Ignores `reserved-space`, `max-used-space` and `min-free-space`: more is removed.',
    guard: 'same',
    reading: 'A prune may remove all of the cache.',
  },
  {
    operations: ['ImagePush'],
    before: 46,
    engine: 'Ignores `platform`: the whole index is pushed; up to Engine 27 always.',
    guard: 'follows',
    reading: '`platform` is empty, without a version too.',
  },
  {
    operations: ['ImageGet', 'ImageGetAll', 'ImageLoad', 'ImageHistory'],
    before: 48,
    engine: 'Ignores `platform`, and refuses several below 1.52.',
    guard: 'same',
    reading: 'It only chooses a part of an image.',
  },
  {
    operations: ['ImageInspect'],
    before: 49,
    engine: 'Ignores `platform`, below 1.48 `manifests`.',
    guard: 'same',
    reading: 'It only chooses a part of an image.',
  },
  {
    operations: ['ImageDelete'],
    before: 50,
    engine: 'Ignores `platforms`: the whole image is removed.',
    guard: 'same',
    reading: 'Policy speaks of the whole image.',
  },
  {
    operations: ['ImageList'],
    before: 25,
    engine: 'Reads `filter` as the filter `reference`; up to 20.10 in every version.',
    guard: 'same',
    reading:
      'It only shortens a list. Newer versions ignore what older ones do not know: `shared-size` (1.42), `manifests` (1.47), `identity` (1.54).',
  },
  // ---- the engine, networks, volumes
  {
    operations: ['SystemDataUsage'],
    before: 42,
    engine: 'Ignores `type`: everything is counted; below 1.52 `verbose`.',
    guard: 'same',
    reading: 'The answer is judged and redacted as one about everything.',
  },
  {
    operations: ['NetworkList'],
    before: 28,
    engine: 'Answers with the containers of each network.',
    guard: 'same',
    reading: 'The answer is redacted whatever it has.',
  },
  {
    operations: ['NetworkCreate'],
    before: 48,
    engine: 'Ignores EnableIPv4: the network has it.',
    guard: 'same',
    reading: 'No fact speaks of it.',
  },
  {
    operations: ['NetworkConnect'],
    before: 54,
    engine: 'Ignores the endpoint’s MacAddress.',
    guard: 'either',
    reading: '`mac-address` is raised.',
  },
  {
    operations: ['VolumeCreate', 'VolumeList', 'VolumeInspect', 'VolumeDelete'],
    before: 42,
    engine: 'Ignores ClusterVolumeSpec and cluster volumes: the volume is one of the engine.',
    guard: 'either',
    reading: '`cluster-volume`, and the hazards of driver and options are raised.',
  },
  {
    operations: ['VolumePrune'],
    before: 42,
    engine: 'Removes volumes with a name too, as if the filter `all` were there.',
    guard: 'same',
    reading: 'A prune is judged as one of all volumes.',
  },
  // ---- swarm
  {
    operations: ['SwarmInit'],
    before: 39,
    engine: 'Ignores DefaultAddrPool and SubnetSize, below 1.40 DataPathPort.',
    guard: 'either',
    reading: '`subnet` is raised.',
  },
  {
    operations: SERVICES,
    before: 30,
    engine: 'The manager itself asks the registry for the image’s digest.',
    guard: 'same',
    reading: 'The nodes pull the image from the same registry: see the fact `registry`.',
  },
  {
    operations: SERVICES,
    before: 40,
    engine: 'Ignores Sysctls, Placement.MaxReplicas, CredentialSpec.Config and the runtime of a config.',
    guard: 'either',
    reading: '`sysctl`, `security-opt` and `uses-config` are raised.',
  },
  {
    operations: SERVICES,
    before: 41,
    engine: 'Ignores CapabilityAdd, CapabilityDrop, Ulimits, Limits.Pids and jobs.',
    guard: 'follows',
    reading:
      '`capabilities.drop` is empty and `pids` 0; what gives more is judged all the same. Rewrites that would set them refuse the call.',
  },
  {
    operations: SERVICES,
    before: 44,
    engine:
      'Ignores Seccomp, AppArmor and NoNewPrivileges; takes the Networks of the service where the task has none, newer versions do not.',
    guard: 'either',
    reading: '`security-opt` is raised, and both lists of networks are judged.',
  },
  {
    operations: SERVICES,
    before: 46,
    engine: 'Ignores OomScoreAdj and TmpfsOptions.Options.',
    guard: 'either',
    reading: '`oom-score` and `tmpfs-option` are raised.',
  },
  {
    operations: SERVICES,
    before: 52,
    engine: 'Ignores SwapBytes and MemorySwappiness.',
    guard: 'same',
    reading: 'No fact speaks of them.',
  },
  {
    operations: ['ServiceList'],
    before: 41,
    engine: 'Ignores `status`.',
    guard: 'same',
    reading: 'Two more numbers in the answer.',
  },
  {
    operations: ['SecretCreate', 'ConfigCreate'],
    before: 37,
    engine: 'Refuses Templating.',
    guard: 'either',
    reading: '`secret-driver` is raised.',
  },
];

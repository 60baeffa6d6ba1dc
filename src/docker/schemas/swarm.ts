import type { Schema } from '../schema.js';
import {
  BOOL,
  BYTES,
  EMPTY,
  FLOAT,
  INT,
  STRING,
  STRINGS,
  STRING_MAP,
  UINT,
  UINT32,
  array,
  object,
  ref,
} from './shorthand.js';

type Fields = Readonly<Record<string, Schema>>;

/** swarm.Annotations, embedded in every spec. */
const ANNOTATIONS: Fields = { Name: STRING, Labels: STRING_MAP };

const UPDATE_CONFIG: Schema = object({
  Parallelism: UINT,
  Delay: INT,
  FailureAction: STRING,
  Monitor: INT,
  MaxFailureRatio: FLOAT,
  Order: STRING,
});

const FILE_TARGET: Schema = object({ Name: STRING, UID: STRING, GID: STRING, Mode: UINT32 });
const NETWORKS: Schema = array(object({ Target: STRING, Aliases: STRINGS, DriverOpts: STRING_MAP }));
const GENERIC_RESOURCES: Schema = array(
  object({
    NamedResourceSpec: object({ Kind: STRING, Value: STRING }),
    DiscreteResourceSpec: object({ Kind: STRING, Value: INT }),
  }),
);

/** Bodies of swarm mode. Source: moby api/types/swarm at HEAD and v20.10.24. */
export const SWARM_SCHEMAS: Readonly<Record<string, Schema>> = {
  SwarmSpec: object({
    ...ANNOTATIONS,
    Orchestration: object({ TaskHistoryRetentionLimit: INT }),
    Raft: object({
      SnapshotInterval: UINT,
      KeepOldSnapshots: UINT,
      LogEntriesForSlowFollowers: UINT,
      ElectionTick: INT,
      HeartbeatTick: INT,
    }),
    Dispatcher: object({ HeartbeatPeriod: INT }),
    CAConfig: object({
      NodeCertExpiry: INT,
      ExternalCAs: array(object({ Protocol: STRING, URL: STRING, Options: STRING_MAP, CACert: STRING })),
      SigningCACert: STRING,
      SigningCAKey: STRING,
      ForceRotate: UINT,
    }),
    TaskDefaults: object({ LogDriver: ref('Driver') }),
    EncryptionConfig: object({ AutoLockManagers: BOOL }),
  }),
  SwarmInit: object({
    ListenAddr: STRING,
    AdvertiseAddr: STRING,
    DataPathAddr: STRING,
    DataPathPort: UINT32,
    ForceNewCluster: BOOL,
    Spec: ref('SwarmSpec'),
    AutoLockManagers: BOOL,
    Availability: STRING,
    DefaultAddrPool: STRINGS,
    SubnetSize: UINT32,
  }),
  SwarmJoin: object({
    ListenAddr: STRING,
    AdvertiseAddr: STRING,
    DataPathAddr: STRING,
    RemoteAddrs: STRINGS,
    JoinToken: STRING,
    Availability: STRING,
  }),
  SwarmUnlock: object({ UnlockKey: STRING }),
  NodeSpec: object({ ...ANNOTATIONS, Role: STRING, Availability: STRING }),
  SecretSpec: object({ ...ANNOTATIONS, Data: BYTES, Driver: ref('Driver'), Templating: ref('Driver') }),
  ConfigSpec: object({ ...ANNOTATIONS, Data: BYTES, Templating: ref('Driver') }),

  ServiceSpec: object({
    ...ANNOTATIONS,
    TaskTemplate: ref('TaskSpec'),
    Mode: object({
      Replicated: object({ Replicas: UINT }),
      Global: EMPTY,
      ReplicatedJob: object({ MaxConcurrent: UINT, TotalCompletions: UINT }),
      GlobalJob: EMPTY,
    }),
    UpdateConfig: UPDATE_CONFIG,
    RollbackConfig: UPDATE_CONFIG,
    // Up to Engine 28; TaskTemplate.Networks since 1.25.
    Networks: NETWORKS,
    EndpointSpec: object({
      Mode: STRING,
      Ports: array(
        object({
          Name: STRING,
          Protocol: STRING,
          TargetPort: UINT32,
          PublishedPort: UINT32,
          PublishMode: STRING,
        }),
      ),
    }),
  }),
  TaskSpec: object({
    ContainerSpec: ref('ContainerSpec'),
    // runtime.PluginSpec has lower-case names on the wire, unlike in swagger.yaml.
    PluginSpec: object({
      name: STRING,
      remote: STRING,
      privileges: array(object({ name: STRING, description: STRING, value: STRINGS })),
      disabled: BOOL,
      env: STRINGS,
    }),
    NetworkAttachmentSpec: object({ ContainerID: STRING }),
    Resources: object({
      // GenericResources of a limit: up to 1.40.
      Limits: object({ NanoCPUs: INT, MemoryBytes: INT, Pids: INT, GenericResources: GENERIC_RESOURCES }),
      Reservations: object({ NanoCPUs: INT, MemoryBytes: INT, GenericResources: GENERIC_RESOURCES }),
      SwapBytes: INT,
      MemorySwappiness: INT,
    }),
    RestartPolicy: object({ Condition: STRING, Delay: INT, MaxAttempts: UINT, Window: INT }),
    Placement: object({
      Constraints: STRINGS,
      Preferences: array(object({ Spread: object({ SpreadDescriptor: STRING }) })),
      MaxReplicas: UINT,
      Platforms: array(object({ Architecture: STRING, OS: STRING })),
    }),
    Networks: NETWORKS,
    LogDriver: ref('Driver'),
    ForceUpdate: UINT,
    Runtime: STRING,
  }),
  ContainerSpec: object({
    Image: STRING,
    Labels: STRING_MAP,
    Command: STRINGS,
    Args: STRINGS,
    Hostname: STRING,
    Env: STRINGS,
    Dir: STRING,
    User: STRING,
    Groups: STRINGS,
    Privileges: object({
      CredentialSpec: object({ Config: STRING, File: STRING, Registry: STRING }),
      SELinuxContext: object({ Disable: BOOL, User: STRING, Role: STRING, Type: STRING, Level: STRING }),
      Seccomp: object({ Mode: STRING, Profile: BYTES }),
      AppArmor: object({ Mode: STRING }),
      NoNewPrivileges: BOOL,
    }),
    Init: BOOL,
    StopSignal: STRING,
    TTY: BOOL,
    OpenStdin: BOOL,
    ReadOnly: BOOL,
    Mounts: array(ref('Mount')),
    StopGracePeriod: INT,
    Healthcheck: ref('HealthConfig'),
    Hosts: STRINGS,
    DNSConfig: object({ Nameservers: STRINGS, Search: STRINGS, Options: STRINGS }),
    Secrets: array(object({ File: FILE_TARGET, SecretID: STRING, SecretName: STRING })),
    Configs: array(object({ File: FILE_TARGET, Runtime: EMPTY, ConfigID: STRING, ConfigName: STRING })),
    Isolation: STRING,
    Sysctls: STRING_MAP,
    CapabilityAdd: STRINGS,
    CapabilityDrop: STRINGS,
    Ulimits: ref('Ulimits'),
    OomScoreAdj: INT,
  }),
};

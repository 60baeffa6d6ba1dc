import type { Schema } from '../schema.js';
import { ANY, BOOL, EMPTY, INT, STRING, STRINGS, STRING_MAP, array, map, object, ref } from './shorthand.js';

/**
 * Bodies about networks, volumes, plugins and registries, and the JSON of query parameters. Sources: moby
 * api/types/{network,volume,plugin,registry} at HEAD and v20.10.24, daemon/server/buildbackend/build.go,
 * daemon/internal/filters.
 */
export const SYSTEM_SCHEMAS: Readonly<Record<string, Schema>> = {
  AuthConfig: object({
    username: STRING,
    password: STRING,
    auth: STRING,
    email: STRING,
    serveraddress: STRING,
    identitytoken: STRING,
    registrytoken: STRING,
  }),

  NetworkCreate: object({
    Name: STRING,
    // Up to 1.43.
    CheckDuplicate: BOOL,
    Driver: STRING,
    Scope: STRING,
    EnableIPv4: BOOL,
    EnableIPv6: BOOL,
    IPAM: object({
      Driver: STRING,
      Options: STRING_MAP,
      Config: array(
        object({ Subnet: STRING, IPRange: STRING, Gateway: STRING, AuxiliaryAddresses: STRING_MAP }),
      ),
    }),
    Internal: BOOL,
    Attachable: BOOL,
    Ingress: BOOL,
    ConfigOnly: BOOL,
    ConfigFrom: ref('NetworkReference'),
    Options: STRING_MAP,
    Labels: STRING_MAP,
  }),
  NetworkReference: object({ Network: STRING }),
  NetworkConnect: object({ Container: STRING, EndpointConfig: ref('EndpointSettings') }),
  NetworkDisconnect: object({ Container: STRING, Force: BOOL }),
  // What inspecting answers comes back when clients copy an endpoint, so the run-time fields are known as well.
  EndpointSettings: object({
    IPAMConfig: object({ IPv4Address: STRING, IPv6Address: STRING, LinkLocalIPs: STRINGS }),
    Links: STRINGS,
    Aliases: STRINGS,
    DriverOpts: STRING_MAP,
    GwPriority: INT,
    NetworkID: STRING,
    EndpointID: STRING,
    Gateway: STRING,
    IPAddress: STRING,
    MacAddress: STRING,
    IPPrefixLen: INT,
    IPv6Gateway: STRING,
    GlobalIPv6Address: STRING,
    GlobalIPv6PrefixLen: INT,
    DNSNames: STRINGS,
  }),

  VolumeCreate: object({
    Name: STRING,
    Driver: STRING,
    DriverOpts: STRING_MAP,
    Labels: STRING_MAP,
    ClusterVolumeSpec: ref('ClusterVolumeSpec'),
  }),
  VolumeUpdate: object({ Spec: ref('ClusterVolumeSpec') }),
  ClusterVolumeSpec: object({
    Group: STRING,
    AccessMode: object({
      Scope: STRING,
      Sharing: STRING,
      MountVolume: object({ FsType: STRING, MountFlags: STRINGS }),
      BlockVolume: EMPTY,
    }),
    AccessibilityRequirements: object({
      Requisite: array(ref('Topology')),
      Preferred: array(ref('Topology')),
    }),
    CapacityRange: object({ RequiredBytes: INT, LimitBytes: INT }),
    Secrets: array(object({ Key: STRING, Secret: STRING })),
    Availability: STRING,
  }),
  Topology: object({ Segments: STRING_MAP }),

  // The root is an array.
  PluginPrivileges: array(object({ Name: STRING, Description: STRING, Value: STRINGS })),

  /**
   * `{"label":["a","b"]}`, or the older `{"label":{"a":true}}`: filters.FromJSON takes either, and which values are
   * known depends on the operation. Kept as it is.
   */
  Filters: ANY,
  StringList: STRINGS,
  StringMap: STRING_MAP,
  /** `map[string]*string`: null stands for a build argument without a value. */
  NullableStringMap: map(STRING),
  BuildOutputs: array(object({ Type: STRING, Attrs: STRING_MAP })),
  /** OCI image specification, descriptor.go. */
  Platform: object({
    architecture: STRING,
    os: STRING,
    'os.version': STRING,
    'os.features': STRINGS,
    variant: STRING,
  }),
};

import type { Call } from '../docker/call.js';
import { type JsonValue, asArray, asNumber, asObject, asString, asStrings, keysOf } from '../base/json.js';
import { addedCapabilities, droppedCapabilities, isolation, servicePrivileges, sysctls } from './security.js';
import { addHazard, setFact, type Findings } from './inspection.js';
import { setImage } from './images.js';
import {
  each,
  eachString,
  fields,
  harmless,
  inspectFields,
  object,
  text,
  variableNames,
  type FieldInspector,
} from './field-inspectors.js';
import { serviceLogDriver } from './logging.js';
import { mounts } from './mounts.js';
import { dnsOptions, dnsSearch, dnsServers, extraHosts, serviceNetworks, servicePorts } from './network.js';
import { inspectPrivileges } from './plugins.js';
import { queryText, bodyText } from './call-values.js';
import { oomScore, ulimits } from './resources.js';

function uses(kind: 'uses-secret' | 'uses-config', id: string, name: string): FieldInspector {
  return each((reference, findings) => {
    const given = asObject(reference);
    addHazard(findings, kind, asString(given[name]) || asString(given[id]));
  });
}

/** swarm.ContainerSpec (api/types/swarm/container.go) */
const CONTAINER = fields({
  Image: harmless,
  Labels: harmless,
  Command: harmless,
  Args: harmless,
  Hostname: harmless,
  Env: harmless,
  Dir: harmless,
  User: harmless,
  Groups: eachString((group, findings) => addHazard(findings, 'group-add', group)),
  Privileges: servicePrivileges,
  StopSignal: harmless,
  TTY: harmless,
  OpenStdin: harmless,
  ReadOnly: harmless,
  Mounts: mounts,
  StopGracePeriod: harmless,
  Healthcheck: harmless,
  HealthCheck: harmless,
  Hosts: extraHosts,
  DNSConfig: object(fields({ Nameservers: dnsServers, Search: dnsSearch, Options: dnsOptions })),
  Secrets: uses('uses-secret', 'SecretID', 'SecretName'),
  Configs: uses('uses-config', 'ConfigID', 'ConfigName'),
  Isolation: isolation,
  Init: harmless,
  Sysctls: sysctls,
  CapabilityAdd: addedCapabilities,
  CapabilityDrop: droppedCapabilities,
  Ulimits: ulimits,
  OomScoreAdj: oomScore,
});

const genericResources: FieldInspector = each((resource, findings) => {
  const { NamedResourceSpec, DiscreteResourceSpec } = asObject(resource);
  const kind =
    asString(asObject(NamedResourceSpec)['Kind']) || asString(asObject(DiscreteResourceSpec)['Kind']);
  addHazard(findings, 'device-request', kind === '' ? 'any' : kind);
});
const AMOUNTS = fields({
  NanoCPUs: harmless,
  MemoryBytes: harmless,
  Pids: harmless,
  GenericResources: genericResources,
});

/** runtime.PluginSpec: its names are lower case on the wire, unlike in swagger.yaml. */
const PLUGIN = fields({
  name: harmless,
  remote: harmless,
  privileges: (value, findings) => inspectPrivileges(asArray(value), findings),
  disabled: harmless,
  env: harmless,
});
const pluginSpec: FieldInspector = (value, findings, at) => {
  const { name, remote } = asObject(value);
  addHazard(findings, 'plugin', asString(remote) || asString(name));
  inspectFields(PLUGIN, value, findings, at);
};

/** swarm.TaskSpec (api/types/swarm/task.go). That a service comes back is what a service is: no hazard of its own. */
const TASK = fields({
  ContainerSpec: object(CONTAINER),
  PluginSpec: pluginSpec,
  NetworkAttachmentSpec: (value, findings) => {
    addHazard(findings, 'namespace', `network=attachment:${asString(asObject(value)['ContainerID'])}`);
  },
  Resources: object(
    fields({
      Limits: object(AMOUNTS),
      Reservations: object(AMOUNTS),
      SwapBytes: harmless,
      MemorySwappiness: harmless,
    }),
  ),
  RestartPolicy: harmless,
  Placement: harmless,
  Networks: serviceNetworks,
  LogDriver: serviceLogDriver,
  ForceUpdate: harmless,
  Runtime: text((runtime, findings) => {
    if (runtime !== 'container') addHazard(findings, 'runtime', runtime);
  }),
});

/** swarm.ServiceSpec (api/types/swarm/service.go) */
const SERVICE = fields({
  Name: harmless,
  Labels: harmless,
  TaskTemplate: object(TASK),
  Mode: harmless,
  UpdateConfig: harmless,
  RollbackConfig: harmless,
  Networks: serviceNetworks,
  EndpointSpec: object(fields({ Mode: harmless, Ports: servicePorts })),
});

/** Lists that inspectors add to; set even when they stay empty, so that a condition always has a value. */
function setEmptyLists(findings: Findings): void {
  setFact(findings, 'mounts', []);
  setFact(findings, 'networks', []);
  setFact(findings, 'network.aliases', []);
  setFact(findings, 'publish', []);
  setFact(findings, 'capabilities.add', []);
  setFact(findings, 'capabilities.drop', []);
}

/** What a service would start, in the same words as for a container. */
export function inspectService(body: JsonValue, findings: Findings, call: Call): void {
  const spec = asObject(body);
  const task = asObject(spec['TaskTemplate']);
  const container = asObject(task['ContainerSpec']);
  const limits = asObject(asObject(task['Resources'])['Limits']);
  setFact(findings, 'service.name', asString(spec['Name']));
  setImage(findings, bodyText(call, call.operation.does.runsImageAt!));
  setFact(findings, 'command', asStrings(container['Args']));
  setFact(findings, 'entrypoint', asStrings(container['Command']));
  setFact(findings, 'user', asString(container['User']));
  setFact(findings, 'workdir', asString(container['Dir']));
  setFact(findings, 'hostname', asString(container['Hostname']));
  setFact(findings, 'env', variableNames(container['Env']));
  setFact(findings, 'labels', [...keysOf(spec['Labels']), ...keysOf(container['Labels'])]);
  setFact(findings, 'read-only', container['ReadOnly'] === true);
  setFact(findings, 'memory', asNumber(limits['MemoryBytes']));
  setFact(findings, 'cpus', asNumber(limits['NanoCPUs']) / 1e9);
  setFact(findings, 'pids', asNumber(limits['Pids']));
  setEmptyLists(findings);
  // `rollback=previous` makes the manager take the earlier specification, not this body.
  if (queryText(call, 'rollback') !== '') addHazard(findings, 'opaque', 'rollback');
  inspectFields(SERVICE, body, findings, '');
}

import { isBefore, type Call } from '../docker/call.js';
import { type JsonValue, asArray, asNumber, asObject, asString, asStrings, keysOf } from '../base/json.js';
import { addedCapabilities, droppedCapabilities, isolation, servicePrivileges, sysctls } from './security.js';
import { addHazard, setFact, type Findings } from './inspection.js';
import { setImage } from './images.js';
import {
  bounded,
  checked,
  counted,
  duration,
  each,
  eachString,
  fields,
  flag,
  inspectFields,
  keptTexts,
  object,
  ownAmount,
  ownText,
  text,
  variableNames,
  withOthers,
  type FieldInspector,
} from './field-inspectors.js';
import { serviceLogDriver } from './logging.js';
import { mounts } from './mounts.js';
import { dnsOptions, dnsSearch, dnsServers, extraHosts, serviceNetworks, servicePorts } from './network.js';
import { inspectPrivileges } from './plugins.js';
import { queryText, bodyText } from './call-values.js';
import { templateOfHostname, templatesOfMounts, templatesOfVariables } from './templates.js';
import { healthCheck, oomScore, ulimits } from './resources.js';

function uses(kind: 'uses-secret' | 'uses-config', id: string, name: string): FieldInspector {
  return each((reference, findings) => {
    const given = asObject(reference);
    addHazard(findings, kind, asString(given[name]) || asString(given[id]));
  });
}

const environment: FieldInspector = (value, findings, at) => {
  keptTexts(value, findings, at);
  templatesOfVariables(value, findings, at);
};
const serviceMounts: FieldInspector = (value, findings, at) => {
  mounts(value, findings, at);
  templatesOfMounts(value, findings, at);
};

/** swarm.ContainerSpec (api/types/swarm/container.go) */
const CONTAINER = fields({
  Image: ownText,
  Labels: keptTexts,
  Command: keptTexts,
  Args: keptTexts,
  Hostname: templateOfHostname,
  Env: environment,
  Dir: ownText,
  User: ownText,
  Groups: eachString((group, findings) => addHazard(findings, 'group-add', group)),
  Privileges: servicePrivileges,
  StopSignal: ownText,
  TTY: flag,
  OpenStdin: flag,
  ReadOnly: flag,
  Mounts: serviceMounts,
  StopGracePeriod: duration('stop-timeout'),
  Healthcheck: healthCheck,
  HealthCheck: healthCheck,
  Hosts: extraHosts,
  DNSConfig: object(fields({ Nameservers: dnsServers, Search: dnsSearch, Options: dnsOptions })),
  Secrets: uses('uses-secret', 'SecretID', 'SecretName'),
  Configs: uses('uses-config', 'ConfigID', 'ConfigName'),
  Isolation: isolation,
  Init: flag,
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
  NanoCPUs: ownAmount,
  MemoryBytes: ownAmount,
  Pids: ownAmount,
  GenericResources: genericResources,
});

/** runtime.PluginSpec: its names are lower case on the wire, unlike in swagger.yaml. */
const PLUGIN = fields({
  name: withOthers,
  remote: withOthers,
  privileges: (value, findings) => inspectPrivileges(asArray(value), findings),
  disabled: flag,
  env: keptTexts,
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
      SwapBytes: ownAmount,
      MemorySwappiness: ownAmount,
    }),
  ),
  RestartPolicy: object(
    fields({
      Condition: checked,
      Delay: duration('restart-delay', 'counts'),
      MaxAttempts: ownAmount,
      // Only how long a task must run to count as started.
      Window: ownAmount,
    }),
  ),
  Placement: object(
    fields({
      // Each is compared with each node for each task.
      Constraints: counted('entries'),
      Preferences: counted('entries'),
      Platforms: counted('entries'),
      MaxReplicas: ownAmount,
    }),
  ),
  Networks: serviceNetworks,
  LogDriver: serviceLogDriver,
  // A counter.
  ForceUpdate: checked,
  Runtime: text((runtime, findings) => {
    if (runtime !== 'container') addHazard(findings, 'runtime', runtime);
  }),
});

/** swarm.ServiceSpec (api/types/swarm/service.go) */
const SERVICE = fields({
  Name: ownText,
  Labels: keptTexts,
  TaskTemplate: object(TASK),
  Mode: object(
    fields({
      Replicated: object(fields({ Replicas: bounded('replicas') })),
      Global: flag,
      ReplicatedJob: object(
        fields({ MaxConcurrent: bounded('replicas'), TotalCompletions: bounded('replicas') }),
      ),
      GlobalJob: flag,
    }),
  ),
  // Times to wait and how many tasks at once, of those that Mode has anyway.
  UpdateConfig: checked,
  RollbackConfig: checked,
  Networks: serviceNetworks,
  EndpointSpec: object(fields({ Mode: checked, Ports: servicePorts })),
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
  // The engine drops from calls of older versions what they did not have (router/swarm/helpers.go, adjustForAPIVersion).
  if (isBefore(call, 41)) {
    setFact(findings, 'capabilities.drop', []);
    setFact(findings, 'pids', 0);
  }
}

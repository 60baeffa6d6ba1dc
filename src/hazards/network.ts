import type { Call } from '../docker/call.js';
import { type JsonValue, asFlag, asObject, asString } from '../base/json.js';
import { addToFact, addHazard, setFact, type Findings } from './findings.js';
import {
  each,
  eachEntry,
  eachString,
  fields,
  harmless,
  inspectFields,
  object,
  text,
  whenSet,
  type FieldInspector,
} from './field-inspectors.js';
import { inspectNetworkMode } from './namespaces.js';

const staticAddress = text((address, findings) => addHazard(findings, 'static-address', address));

export const macAddress = text((address, findings) => addHazard(findings, 'mac-address', address));
export const links: FieldInspector = eachString((link, findings) => addHazard(findings, 'link', link));
const aliases: FieldInspector = eachString((alias, findings) =>
  addToFact(findings, 'network.aliases', alias),
);
const networkOptions: FieldInspector = eachEntry((key, value, findings) => {
  addHazard(findings, 'network-option', `${key}=${asString(value)}`);
});

/** network.EndpointSettings. NetworkID, where given, wins over the name (daemon/container_operations.go). */
const ENDPOINT = fields({
  IPAMConfig: object(
    fields({
      IPv4Address: staticAddress,
      IPv6Address: staticAddress,
      LinkLocalIPs: eachString((address, findings) => addHazard(findings, 'static-address', address)),
    }),
  ),
  Links: links,
  Aliases: aliases,
  DNSNames: aliases,
  DriverOpts: networkOptions,
  GwPriority: harmless,
  NetworkID: text((id, findings) => {
    addHazard(findings, 'network-id', id);
    addToFact(findings, 'networks', id);
  }),
  MacAddress: macAddress,
  IPAddress: staticAddress,
  GlobalIPv6Address: staticAddress,
  // Reported by the daemon, not read from a request.
  EndpointID: harmless,
  Gateway: harmless,
  IPPrefixLen: harmless,
  IPv6Gateway: harmless,
  GlobalIPv6PrefixLen: harmless,
});

/** ContainerCreate's NetworkingConfig: network names to endpoint settings. */
export const networkingConfig: FieldInspector = object(
  fields({
    EndpointsConfig: eachEntry((network, endpoint, findings, at) => {
      inspectNetworkMode(network, findings);
      addToFact(findings, 'networks', network);
      inspectFields(ENDPOINT, endpoint, findings, at);
    }),
  }),
);

/** NetworkAttachmentConfig of a service. */
export const serviceNetworks: FieldInspector = each((attachment, findings, at) => {
  const target = asString(asObject(attachment)['Target']);
  inspectNetworkMode(target, findings);
  addToFact(findings, 'networks', target);
  inspectFields(ATTACHMENT, attachment, findings, at);
});
const ATTACHMENT = fields({ Target: harmless, Aliases: aliases, DriverOpts: networkOptions });

export const extraHosts: FieldInspector = eachString((entry, findings) =>
  addHazard(findings, 'extra-host', entry),
);
export const dnsServers: FieldInspector = eachString((server, findings) =>
  addHazard(findings, 'dns', server),
);
export const dnsSearch: FieldInspector = eachString((domain, findings) =>
  addHazard(findings, 'dns-search', domain),
);
export const dnsOptions: FieldInspector = eachString((option, findings) =>
  addHazard(findings, 'dns-option', option),
);

const IPAM_CONFIG = fields({
  Subnet: text((subnet, findings) => addHazard(findings, 'subnet', subnet)),
  IPRange: harmless,
  Gateway: harmless,
  AuxiliaryAddresses: harmless,
  AuxAddress: harmless,
});

const NETWORK = fields({
  Name: text((name, findings) => inspectNetworkMode(name, findings)),
  Driver: text((driver, findings) => {
    if (driver !== 'bridge') addHazard(findings, 'network-driver', driver);
  }),
  CheckDuplicate: harmless,
  Internal: harmless,
  Attachable: harmless,
  EnableIPv4: harmless,
  EnableIPv6: harmless,
  Labels: harmless,
  Scope: text((scope, findings) => {
    if (scope !== 'local') addHazard(findings, 'network-option', `scope=${scope}`);
  }),
  Ingress: whenSet((findings) => addHazard(findings, 'network-ingress')),
  ConfigOnly: whenSet((findings) => addHazard(findings, 'network-config', 'only')),
  ConfigFrom: object(
    fields({ Network: text((name, findings) => addHazard(findings, 'network-config', name)) }),
  ),
  Options: networkOptions,
  IPAM: object(
    fields({
      Driver: text((driver, findings) => {
        if (driver !== 'default') addHazard(findings, 'ipam-driver', driver);
      }),
      Options: eachEntry((key, value, findings) =>
        addHazard(findings, 'ipam-driver', `${key}=${asString(value)}`),
      ),
      Config: each(object(IPAM_CONFIG)),
    }),
  ),
});

export function inspectNetworkCreate(body: JsonValue, findings: Findings): void {
  const { Name, Driver, Internal } = asObject(body);
  setFact(findings, 'network.name', asString(Name));
  setFact(findings, 'network.driver', asString(Driver) || 'bridge');
  setFact(findings, 'network.internal', asFlag(Internal));
  inspectFields(NETWORK, body, findings, '');
}

const CONNECT = fields({ Container: harmless, EndpointConfig: object(ENDPOINT), Force: harmless });

/** A container joins or leaves a network. SDKs name the network in the path by id, so an id is nothing unusual here. */
export function inspectNetworkConnect(body: JsonValue, findings: Findings, call: Call): void {
  const { Container, Force } = asObject(body);
  setFact(findings, 'container', asString(Container));
  if (call.operation.does.leaves === 'network') setFact(findings, 'force', asFlag(Force));
  else {
    setFact(findings, 'network.aliases', []);
    if (call.path['id'] === 'host') addHazard(findings, 'host-namespace', 'network');
  }
  if (asString(Container).slice(1).includes('/')) addHazard(findings, 'link-alias', asString(Container));
  inspectFields(CONNECT, body, findings, '');
}

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

const staticAddress = text((address, found) => addHazard(found, 'static-address', address));

export const macAddress = text((address, found) => addHazard(found, 'mac-address', address));
export const links: FieldInspector = eachString((link, found) => addHazard(found, 'link', link));
const aliases: FieldInspector = eachString((alias, found) => addToFact(found, 'network.aliases', alias));
const networkOptions: FieldInspector = eachEntry((key, value, found) => {
  addHazard(found, 'network-option', `${key}=${asString(value)}`);
});

/** network.EndpointSettings. NetworkID, where given, wins over the name (daemon/container_operations.go). */
const ENDPOINT = fields({
  IPAMConfig: object(
    fields({
      IPv4Address: staticAddress,
      IPv6Address: staticAddress,
      LinkLocalIPs: eachString((address, found) => addHazard(found, 'static-address', address)),
    }),
  ),
  Links: links,
  Aliases: aliases,
  DNSNames: aliases,
  DriverOpts: networkOptions,
  GwPriority: harmless,
  NetworkID: text((id, found) => {
    addHazard(found, 'network-id', id);
    addToFact(found, 'networks', id);
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
    EndpointsConfig: eachEntry((network, endpoint, found, at) => {
      inspectNetworkMode(network, found);
      addToFact(found, 'networks', network);
      inspectFields(ENDPOINT, endpoint, found, at);
    }),
  }),
);

/** NetworkAttachmentConfig of a service. */
export const serviceNetworks: FieldInspector = each((attachment, found, at) => {
  const target = asString(asObject(attachment)['Target']);
  inspectNetworkMode(target, found);
  addToFact(found, 'networks', target);
  inspectFields(ATTACHMENT, attachment, found, at);
});
const ATTACHMENT = fields({ Target: harmless, Aliases: aliases, DriverOpts: networkOptions });

export const extraHosts: FieldInspector = eachString((entry, found) => addHazard(found, 'extra-host', entry));
export const dnsServers: FieldInspector = eachString((server, found) => addHazard(found, 'dns', server));
export const dnsSearch: FieldInspector = eachString((domain, found) =>
  addHazard(found, 'dns-search', domain),
);
export const dnsOptions: FieldInspector = eachString((option, found) =>
  addHazard(found, 'dns-option', option),
);

const IPAM_CONFIG = fields({
  Subnet: text((subnet, found) => addHazard(found, 'subnet', subnet)),
  IPRange: harmless,
  Gateway: harmless,
  AuxiliaryAddresses: harmless,
  AuxAddress: harmless,
});

const NETWORK = fields({
  Name: text((name, found) => inspectNetworkMode(name, found)),
  Driver: text((driver, found) => {
    if (driver !== 'bridge') addHazard(found, 'network-driver', driver);
  }),
  CheckDuplicate: harmless,
  Internal: harmless,
  Attachable: harmless,
  EnableIPv4: harmless,
  EnableIPv6: harmless,
  Labels: harmless,
  Scope: text((scope, found) => {
    if (scope !== 'local') addHazard(found, 'network-option', `scope=${scope}`);
  }),
  Ingress: whenSet((found) => addHazard(found, 'network-ingress')),
  ConfigOnly: whenSet((found) => addHazard(found, 'network-config', 'only')),
  ConfigFrom: object(fields({ Network: text((name, found) => addHazard(found, 'network-config', name)) })),
  Options: networkOptions,
  IPAM: object(
    fields({
      Driver: text((driver, found) => {
        if (driver !== 'default') addHazard(found, 'ipam-driver', driver);
      }),
      Options: eachEntry((key, value, found) => addHazard(found, 'ipam-driver', `${key}=${asString(value)}`)),
      Config: each(object(IPAM_CONFIG)),
    }),
  ),
});

export function inspectNetworkCreate(body: JsonValue, found: Findings): void {
  const { Name, Driver, Internal } = asObject(body);
  setFact(found, 'network.name', asString(Name));
  setFact(found, 'network.driver', asString(Driver) || 'bridge');
  setFact(found, 'network.internal', asFlag(Internal));
  inspectFields(NETWORK, body, found, '');
}

const CONNECT = fields({ Container: harmless, EndpointConfig: object(ENDPOINT), Force: harmless });

/** A container joins or leaves a network. SDKs name the network in the path by id, so an id is nothing unusual here. */
export function inspectNetworkConnect(body: JsonValue, found: Findings, call: Call): void {
  const { Container, Force } = asObject(body);
  setFact(found, 'container', asString(Container));
  if (call.operation.does.leaves === 'network') setFact(found, 'force', asFlag(Force));
  else {
    setFact(found, 'network.aliases', []);
    if (call.path['id'] === 'host') addHazard(found, 'host-namespace', 'network');
  }
  if (asString(Container).slice(1).includes('/')) addHazard(found, 'link-alias', asString(Container));
  inspectFields(CONNECT, body, found, '');
}

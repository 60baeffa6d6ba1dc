import type { Call } from '../docker/call.js';
import { type JsonValue, asFlag, asObject, asString } from '../base/json.js';
import { append, raise, state, type Findings } from './findings.js';
import {
  each,
  eachEntry,
  eachString,
  fields,
  harmless,
  judgeObject,
  object,
  text,
  whenSet,
  type Judge,
} from './judge.js';
import { judgeNetwork } from './namespaces.js';

const staticAddress = text((address, found) => raise(found, 'static-address', address));

export const macAddress = text((address, found) => raise(found, 'mac-address', address));
export const links: Judge = eachString((link, found) => raise(found, 'link', link));
const aliases: Judge = eachString((alias, found) => append(found, 'network.aliases', alias));
const networkOptions: Judge = eachEntry((key, value, found) => {
  raise(found, 'network-option', `${key}=${asString(value)}`);
});

/** network.EndpointSettings. NetworkID, where given, wins over the name (daemon/container_operations.go). */
const ENDPOINT = fields({
  IPAMConfig: object(
    fields({
      IPv4Address: staticAddress,
      IPv6Address: staticAddress,
      LinkLocalIPs: eachString((address, found) => raise(found, 'static-address', address)),
    }),
  ),
  Links: links,
  Aliases: aliases,
  DNSNames: aliases,
  DriverOpts: networkOptions,
  GwPriority: harmless,
  NetworkID: text((id, found) => {
    raise(found, 'network-id', id);
    append(found, 'networks', id);
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
export const networkingConfig: Judge = object(
  fields({
    EndpointsConfig: eachEntry((network, endpoint, found, at) => {
      judgeNetwork(network, found);
      append(found, 'networks', network);
      judgeObject(ENDPOINT, endpoint, found, at);
    }),
  }),
);

/** NetworkAttachmentConfig of a service. */
export const serviceNetworks: Judge = each((attachment, found, at) => {
  const target = asString(asObject(attachment)['Target']);
  judgeNetwork(target, found);
  append(found, 'networks', target);
  judgeObject(ATTACHMENT, attachment, found, at);
});
const ATTACHMENT = fields({ Target: harmless, Aliases: aliases, DriverOpts: networkOptions });

export const extraHosts: Judge = eachString((entry, found) => raise(found, 'extra-host', entry));
export const dnsServers: Judge = eachString((server, found) => raise(found, 'dns', server));
export const dnsSearch: Judge = eachString((domain, found) => raise(found, 'dns-search', domain));
export const dnsOptions: Judge = eachString((option, found) => raise(found, 'dns-option', option));

const IPAM_CONFIG = fields({
  Subnet: text((subnet, found) => raise(found, 'subnet', subnet)),
  IPRange: harmless,
  Gateway: harmless,
  AuxiliaryAddresses: harmless,
  AuxAddress: harmless,
});

const NETWORK = fields({
  Name: text((name, found) => judgeNetwork(name, found)),
  Driver: text((driver, found) => {
    if (driver !== 'bridge') raise(found, 'network-driver', driver);
  }),
  CheckDuplicate: harmless,
  Internal: harmless,
  Attachable: harmless,
  EnableIPv4: harmless,
  EnableIPv6: harmless,
  Labels: harmless,
  Scope: text((scope, found) => {
    if (scope !== 'local') raise(found, 'network-option', `scope=${scope}`);
  }),
  Ingress: whenSet((found) => raise(found, 'network-ingress')),
  ConfigOnly: whenSet((found) => raise(found, 'network-config', 'only')),
  ConfigFrom: object(fields({ Network: text((name, found) => raise(found, 'network-config', name)) })),
  Options: networkOptions,
  IPAM: object(
    fields({
      Driver: text((driver, found) => {
        if (driver !== 'default') raise(found, 'ipam-driver', driver);
      }),
      Options: eachEntry((key, value, found) => raise(found, 'ipam-driver', `${key}=${asString(value)}`)),
      Config: each(object(IPAM_CONFIG)),
    }),
  ),
});

export function inspectNetworkCreate(body: JsonValue, found: Findings): void {
  const { Name, Driver, Internal } = asObject(body);
  state(found, 'network.name', asString(Name));
  state(found, 'network.driver', asString(Driver) || 'bridge');
  state(found, 'network.internal', asFlag(Internal));
  judgeObject(NETWORK, body, found, '');
}

const CONNECT = fields({ Container: harmless, EndpointConfig: object(ENDPOINT), Force: harmless });

/** A container joins or leaves a network. SDKs name the network in the path by id, so an id is nothing unusual here. */
export function inspectNetworkConnect(body: JsonValue, found: Findings, call: Call): void {
  const { Container, Force } = asObject(body);
  state(found, 'container', asString(Container));
  if (call.operation.does.leaves === 'network') state(found, 'force', asFlag(Force));
  else {
    state(found, 'network.aliases', []);
    if (call.path['id'] === 'host') raise(found, 'host-namespace', 'network');
  }
  if (asString(Container).slice(1).includes('/')) raise(found, 'link-alias', asString(Container));
  judgeObject(CONNECT, body, found, '');
}

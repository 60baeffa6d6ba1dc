import type { Call } from '../docker/call.js';
import { type JsonValue, asObject, asString, asArray, asNumber } from '../base/json.js';
import { checkBound } from './engine-load.js';
import { addToFact, addHazard, setFact, type Findings } from './inspection.js';
import { shownOption } from './logging.js';
import {
  each,
  checked,
  counted,
  eachEntry,
  eachString,
  fields,
  flag,
  inspectFields,
  keptTexts,
  object,
  otherThan,
  ownText,
  pointer,
  reported,
  text,
  whenSet,
  withOthers,
  type FieldInspector,
} from './field-inspectors.js';

const OWN_NETWORKS = ['default', 'bridge', 'none'];

/**
 * A network by name, as NetworkMode and NetworkingConfig give it. The daemon looks a name up as name, as id and as
 * prefix of an id (daemon/network.go, FindNetwork), so `cafe` may be the host's network.
 */
export const networkName: FieldInspector = otherThan(OWN_NETWORKS, (name, findings) => {
  if (name === 'host') addHazard(findings, 'host-namespace', 'network');
  else if (name.startsWith('container:')) {
    addHazard(findings, 'container-namespace', `network=${name.slice('container:'.length)}`);
  } else if (/^[0-9a-f]+$/.test(name)) addHazard(findings, 'network-id', name);
});

const staticAddress = text((address, findings) => addHazard(findings, 'static-address', address));

export const macAddress = text((address, findings) => addHazard(findings, 'mac-address', address));
export const links: FieldInspector = eachString((link, findings) => addHazard(findings, 'link', link));
const aliases: FieldInspector = eachString(
  (alias, findings) => addToFact(findings, 'network.aliases', alias),
  'aliases',
);
const networkOptions: FieldInspector = eachEntry((key, value, findings) => {
  addHazard(findings, 'network-option', `${key}=${shownOption(key, asString(value))}`);
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
  GwPriority: checked,
  NetworkID: text((id, findings) => {
    addHazard(findings, 'network-id', id);
    addToFact(findings, 'networks', id);
  }),
  MacAddress: macAddress,
  IPAddress: staticAddress,
  GlobalIPv6Address: staticAddress,
  EndpointID: reported,
  Gateway: reported,
  IPPrefixLen: reported,
  IPv6Gateway: reported,
  GlobalIPv6PrefixLen: reported,
});

/** ContainerCreate's NetworkingConfig: network names to endpoint settings. */
export const networkingConfig: FieldInspector = object(
  fields({
    EndpointsConfig: eachEntry((network, endpoint, findings, at) => {
      networkName(network, findings, at);
      addToFact(findings, 'networks', network);
      inspectFields(ENDPOINT, endpoint, findings, pointer(at, network));
    }, 'networks'),
  }),
);

/** NetworkAttachmentConfig of a service. */
export const serviceNetworks: FieldInspector = each((attachment, findings, at) => {
  const target = asString(asObject(attachment)['Target']);
  networkName(target, findings, at);
  addToFact(findings, 'networks', target);
  inspectFields(ATTACHMENT, attachment, findings, at);
}, 'networks');
const ATTACHMENT = fields({ Target: withOthers, Aliases: aliases, DriverOpts: networkOptions });

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
  IPRange: ownText,
  Gateway: ownText,
  AuxiliaryAddresses: counted('aux-addresses'),
  AuxAddress: counted('aux-addresses'),
});

const NETWORK = fields({
  Name: networkName,
  Driver: otherThan(['bridge'], (driver, findings) => addHazard(findings, 'network-driver', driver)),
  CheckDuplicate: flag,
  Internal: flag,
  Attachable: flag,
  EnableIPv4: flag,
  EnableIPv6: flag,
  Labels: keptTexts,
  Scope: otherThan(['local'], (scope, findings) => addHazard(findings, 'network-option', `scope=${scope}`)),
  Ingress: whenSet((findings) => addHazard(findings, 'network-ingress')),
  ConfigOnly: whenSet((findings) => addHazard(findings, 'network-config', 'only')),
  ConfigFrom: object(
    fields({ Network: text((name, findings) => addHazard(findings, 'network-config', name)) }),
  ),
  Options: networkOptions,
  IPAM: object(
    fields({
      Driver: otherThan(['default'], (driver, findings) => addHazard(findings, 'ipam-driver', driver)),
      Options: eachEntry((key, value, findings) =>
        addHazard(findings, 'ipam-driver', `${key}=${shownOption(key, asString(value))}`),
      ),
      Config: each(object(IPAM_CONFIG), 'address-pools'),
    }),
  ),
});

export function inspectNetworkCreate(body: JsonValue, findings: Findings): void {
  const { Name, Driver, Internal } = asObject(body);
  setFact(findings, 'network.name', asString(Name));
  setFact(findings, 'network.driver', asString(Driver) || 'bridge');
  setFact(findings, 'network.internal', Internal === true);
  inspectFields(NETWORK, body, findings, '');
}

const CONNECT = fields({ Container: ownText, EndpointConfig: object(ENDPOINT), Force: flag });

/** A container joins or leaves a network. SDKs name the network in the path by id, so an id is nothing unusual here. */
export function inspectNetworkConnect(body: JsonValue, findings: Findings, call: Call): void {
  const { Container, Force } = asObject(body);
  setFact(findings, 'container', asString(Container));
  if (call.operation.does.leaves === 'network') setFact(findings, 'force', Force === true);
  else {
    setFact(findings, 'network.aliases', []);
    if (call.path['id'] === 'host') addHazard(findings, 'host-namespace', 'network');
  }
  if (asString(Container).slice(1).includes('/')) addHazard(findings, 'link-alias', asString(Container));
  inspectFields(CONNECT, body, findings, '');
}

/**
 * One published port. An empty host address means every interface, an empty port one of the daemon's choice.
 * TCP is not written, so that `publish:127.0.0.1:*` reads naturally; other protocols are: `127.0.0.1:53:udp`.
 */
function publish(address: string, port: string, protocol: string, findings: Findings): void {
  const host = address === '' ? '0.0.0.0' : address.includes(':') ? `[${address}]` : address;
  const shown = `${host}:${port === '' ? '0' : port}${protocol === 'tcp' || protocol === '' ? '' : `:${protocol}`}`;
  addHazard(findings, 'publish', shown);
  addToFact(findings, 'publish', shown);
}

/**
 * HostConfig.PortBindings: `80/tcp` to a list of host addresses and ports. Engines fill an empty list with one
 * binding on every interface (router/container/container_routes.go, handlePortBindingsBC).
 */
const eachBinding: FieldInspector = eachEntry((containerPort, bindings, findings) => {
  const protocol = containerPort.split('/', 2)[1] ?? 'tcp';
  const list = asArray(bindings);
  if (list.length === 0) publish('', '', protocol, findings);
  for (const binding of list) {
    const { HostIp, HostPort } = asObject(binding);
    publish(asString(HostIp), asString(HostPort), protocol, findings);
  }
});

export const portBindings: FieldInspector = (value, findings, at) => {
  // A list without elements is one binding.
  const counts = Object.values(asObject(value)).map((bindings) => Math.max(1, asArray(bindings).length));
  checkBound(
    'published',
    counts.reduce((sum, count) => sum + count, 0),
    findings,
  );
  eachBinding(value, findings, at);
};

/** EndpointSpec.Ports of a service: always on every interface. */
export const servicePorts: FieldInspector = each((port, findings) => {
  const { PublishedPort, Protocol } = asObject(port);
  publish('', String(asNumber(PublishedPort)), asString(Protocol), findings);
}, 'published');

import { addToFact, addHazard, type Findings } from './findings.js';
import { asArray, asNumber, asObject, asString } from '../base/json.js';
import { each, eachEntry, type FieldInspector } from './field-inspectors.js';

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
export const portBindings: FieldInspector = eachEntry((containerPort, bindings, findings) => {
  const protocol = containerPort.split('/', 2)[1] ?? 'tcp';
  const list = asArray(bindings);
  if (list.length === 0) publish('', '', protocol, findings);
  for (const binding of list) {
    const { HostIp, HostPort } = asObject(binding);
    publish(asString(HostIp), asString(HostPort), protocol, findings);
  }
});

/** EndpointSpec.Ports of a service: always on every interface. */
export const servicePorts: FieldInspector = each((port, findings) => {
  const { PublishedPort, Protocol } = asObject(port);
  publish('', String(asNumber(PublishedPort)), asString(Protocol), findings);
});

import type { EgressConfig, EgressDns } from '../config/egress-config.js';
import type { Attempts } from '../egress/attempts.js';
import { parseAddress } from '../base/address.js';
import { isWithin, type Network } from '../base/network.js';
import { listenDns } from '../egress/dns-server.js';
import { RESERVED_NETWORKS } from '../egress/elements.js';
import { createTargetDecider } from '../egress/gateway-target.js';
import { listenGateway } from '../egress/gateway.js';
import type { AnswerHistory } from '../egress/history.js';
import { findNetworks, isNameAllowed, type Allow } from '../egress/networks.js';
import type { PacketFilter } from '../egress/packet-filter.js';
import { openResolver, type Resolver } from '../egress/resolver.js';
import { systemLookUp } from '../egress/system-resolver.js';
import type { IndicatorIndex } from '../intel/indicator.js';

/** What resolver and gateway work with. */
export interface ServiceParts {
  readonly config: EgressConfig;
  readonly filter: PacketFilter;
  readonly attempts: Attempts;
  readonly answers: AnswerHistory;
  readonly index: () => IndicatorIndex;
  /** The host's own addresses. */
  readonly own: () => readonly Network[];
}

/**
 * Starts the resolver and the gateway, those that are configured.
 *
 * @returns how to stop them.
 * @throws Error when an address cannot be listened on; none listens then.
 */
export async function startServices(parts: ServiceParts): Promise<() => Promise<void>> {
  const { config } = parts;
  const networks = findNetworks(config.networks);
  const allowOf = (client: string): Allow | undefined => {
    const network = networks.of(client);
    return network === undefined ? undefined : config.networks[network]!.allow;
  };
  const closed = (): readonly Network[] => [...RESERVED_NETWORKS, ...parts.own()];
  let resolver: Resolver | undefined;
  const closers: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const close of closers) await close();
  };
  try {
    if (config.dns !== null) {
      resolver = makeResolver(parts, config.dns, allowOf, async (client, addresses, ttl) => {
        const network = networks.of(client);
        // INVARIANT: a name opens no way to the host or to private networks; those are allowed by address alone.
        const open = addresses.filter((text) => {
          const address = parseAddress(text);
          return address !== undefined && !isWithin(address, closed());
        });
        if (network === undefined || open.length === 0) return;
        await parts.filter.allow(network, open, Math.min(3_600, Math.max(ttl, 60)));
      });
      const { listen, clients, rate } = config.dns;
      const { answer } = resolver;
      const server = await listenDns({ listen, clients, rate, answer }).catch(cannotListen('dns', listen));
      closers.push(() => server.close());
    }
    if (config.gateway !== null) {
      const { listen, clients, ports, allow } = config.gateway;
      const decider = createTargetDecider({
        mode: config.mode,
        ports,
        allow,
        closed,
        index: parts.index,
        allowOf,
        lookUp: resolver?.lookUp ?? ((name) => systemLookUp(name, parts.index())),
        onAttempt(source, target, hit, destination, refused) {
          const name = target.url === '' ? target.host : target.url;
          const found = { source, destination, name, protocol: 'tcp', port: target.port, hit };
          const action = refused ? 'blocked' : 'observed';
          parts.attempts.add({ kind: 'attempt', action, via: 'gateway', ...found }, 1, Date.now());
        },
      });
      const gateway = await listenGateway({ listen, clients, decider }).catch(
        cannotListen('gateway', listen),
      );
      closers.push(() => gateway.close());
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return stop;
}

/** @returns a handler that says which key of the config names an address that cannot be had, and what to do. */
function cannotListen(
  key: 'dns' | 'gateway',
  { host, port }: EgressDns['listen'],
): (error: unknown) => never {
  return (error) => {
    const { code, message } = error as NodeJS.ErrnoException;
    const advice = Object.hasOwn(LISTEN_ADVICE, code ?? '') ? LISTEN_ADVICE[code!]! : message;
    const where = `${host.includes(':') ? `[${host}]` : host}:${port}`;
    throw new Error(`egress.${key}.listen: cannot listen on ${where}: ${advice}`, { cause: error });
  };
}

const LISTEN_ADVICE: Readonly<Record<string, string>> = {
  EADDRNOTAVAIL:
    'this host does not have the address (yet); name one of a bridge that exists, see ip -brief address',
  EADDRINUSE: 'another process is listening there; stop it or choose another port',
  EACCES: 'ports below 1024 need CAP_NET_BIND_SERVICE',
};

function makeResolver(
  { config, attempts, answers, index }: ServiceParts,
  dns: NonNullable<EgressConfig['dns']>,
  allowOf: (client: string) => Allow | undefined,
  open: (client: string, addresses: readonly string[], ttl: number) => Promise<void>,
): Resolver {
  return openResolver({
    upstream: dns.upstream,
    mode: config.mode,
    cache: dns.cache,
    index,
    permits(client, name) {
      const allow = allowOf(client);
      return allow === undefined || isNameAllowed(name, allow);
    },
    async onAnswer(client, name, addresses, ttl) {
      answers.add(client, name, addresses);
      const allow = allowOf(client);
      if (allow !== undefined && isNameAllowed(name, allow)) await open(client, addresses, ttl);
    },
    onFinding(source, { hit, name, address }, refused) {
      const found = { source, destination: address, name, protocol: 'udp', port: 53, hit };
      const action = refused ? 'blocked' : 'observed';
      attempts.add({ kind: 'attempt', action, via: 'dns', ...found }, 1, Date.now());
    },
    onForbidden(source, name) {
      const found = { source, destination: '', name, protocol: 'udp', port: 53, hit: undefined };
      const action = config.mode === 'block' ? 'blocked' : 'observed';
      attempts.add({ kind: 'attempt', action, via: 'policy', ...found }, 1, Date.now());
    },
  });
}

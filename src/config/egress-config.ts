import { resolve } from 'node:path';
import { domainToASCII } from 'node:url';
import * as z from 'zod';
import type { Network } from '../base/network.js';
import { parseNetwork } from '../policy/cidr.js';
import { parseHostPort, type HostPort } from './endpoint.js';
import { count, duration, size, text } from './shapes.js';

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

/** What a network with default deny may still reach. */
export interface EgressAllow {
  readonly networks: readonly Network[];
  readonly names: readonly string[];
}

/** A network whose containers reach only what is allowed. Exactly one of `bridge` and `subnet` is set. */
export interface EgressNetwork {
  /** Name of the Linux bridge, for instance `docker0`. */
  readonly bridge?: string;
  readonly subnet?: Network;
  readonly allow: EgressAllow;
}

export interface EgressDns {
  readonly listen: HostPort;
  readonly upstream: readonly HostPort[];
  /** Clients that are answered; others get no response. */
  readonly clients: readonly Network[];
  /** Interfaces (a trailing `*` is a wildcard) whose port 53 is redirected here; empty: every bridge. */
  readonly interfaces: readonly string[];
  /** Queries a second that one client may ask for long; twice that in a burst. */
  readonly rate: number;
  /** Bytes of answers that are kept. */
  readonly cache: number;
}

export interface EgressGateway {
  readonly listen: HostPort;
  /** Whose connections are taken. */
  readonly clients: readonly Network[];
  /** Private and reserved addresses are refused, but for these. */
  readonly allow: EgressAllow;
  readonly ports: readonly number[];
}

/** The outbound side. Times in milliseconds. */
export interface EgressConfig {
  /** `alert` reports and refuses nothing. */
  readonly mode: 'block' | 'alert';
  /** Name of the nftables table, family inet. */
  readonly table: string;
  /** Directory that has the index that the feeds made, `index.bin`. */
  readonly state: string;
  /** Between two looks at the index, the table and what it counted. */
  readonly poll: number;
  readonly attempts: {
    readonly directory: string;
    /** Group that may read and delete, by name or number. */
    readonly group?: string;
    /** Bytes of all segments together; what comes on top is counted and dropped. */
    readonly maxSize: number;
  };
  readonly dns: EgressDns | null;
  readonly gateway: EgressGateway | null;
  readonly networks: readonly EgressNetwork[];
  /** Never put into the table, beside what is reserved and the host's own addresses. */
  readonly neverBlock: readonly Network[];
  readonly history: { readonly keep: number; readonly flows: number };
  /** What the guard does with the container of an attempt. */
  readonly onHit: {
    readonly action: 'none' | 'pause' | 'stop' | 'disconnect';
    readonly minConfidence: number;
    readonly except: readonly string[];
  };
}

const INTERFACE = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,13}\*?$/;
/** Who is served: what containers have for addresses. Serving everyone would be an open resolver and an open proxy. */
const CLIENTS = [
  ...['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', '127.0.0.0/8'],
  ...['fc00::/7', 'fe80::/10', '::1/128'],
];

const network = z.strictObject({
  bridge: z
    .string()
    .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/, 'must be the name of a Linux bridge')
    .optional()
    .describe('Name of the Linux bridge of the network, such as `docker0`. Either this or `subnet`.'),
  subnet: text.optional().describe('CIDR of the network.'),
  default: z.literal('deny').describe('What is not in `allow` is refused.'),
  allow: z.array(text).default([]).describe('CIDRs and domains; a domain covers its subdomains.'),
});

/** The section `egress` as it stands in the file. */
export const egressSchema = z.strictObject({
  mode: z
    .enum(['block', 'alert'])
    .default('block')
    .describe('`alert` reports everything and refuses nothing.'),
  table: z
    .string()
    .regex(
      /^breakwater[a-z0-9_]{0,20}$/,
      'must be breakwater, maybe with more letters, digits or _ behind it',
    )
    .default('breakwater')
    .describe('Name of the nftables table, family inet.'),
  poll: duration()
    .default(1_000)
    .describe('Between two looks at the index, at the table, and at what it counted.'),
  attempts: z
    .strictObject({
      directory: text
        .optional()
        .describe('Where reports wait for the guard. Default: the folder `egress` beside `feeds.state`.'),
      group: text.optional().describe('Group that may read and delete them, by name or number.'),
      maxSize: size(64 * 2 ** 10)
        .default(64 * 2 ** 20)
        .describe('Of all reports together; what comes on top is counted and dropped.'),
    })
    .prefault({}),
  dns: z
    .strictObject({
      listen: text.describe('`ADDRESS:PORT`; `0.0.0.0` and `[::]` take redirected queries on every bridge.'),
      upstream: z
        .array(text)
        .min(1)
        .max(8)
        .describe('The resolvers that are asked: `ADDRESS` or `ADDRESS:PORT`.'),
      clients: z
        .array(text)
        .min(1)
        .default(CLIENTS)
        .describe('CIDRs of those who are answered; others get nothing. Default: private addresses.'),
      interfaces: z
        .array(z.string().regex(INTERFACE, 'must be the name of an interface, "*" only at its end'))
        .default([])
        .describe('Whose port 53 is redirected to the resolver. Default: every bridge.'),
      rate: count(1_000_000).default(500).describe('Queries a second of one client; twice that in a burst.'),
      cache: size(64 * 2 ** 10, 2 ** 30)
        .default(16 * 2 ** 20)
        .describe('Answers that are kept in memory.'),
    })
    .optional()
    .describe('The DNS resolver. Without this section names are not blocked, addresses are.'),
  gateway: z
    .strictObject({
      listen: text.describe('`ADDRESS:PORT`'),
      clients: z
        .array(text)
        .min(1)
        .default(CLIENTS)
        .describe('CIDRs of those whose connections are taken. Default: private addresses.'),
      allow: z.array(text).default([]).describe('Private networks, and domains that may lead there.'),
      ports: z
        .array(z.int().min(1).max(65_535))
        .min(1)
        .default([80, 443])
        .describe('Ports that may be reached through it.'),
    })
    .optional()
    .describe('The HTTP proxy for builds. Without this section there is none.'),
  networks: z
    .array(network)
    .max(64)
    .default([])
    .describe('Networks whose containers reach only what is allowed.'),
  neverBlock: z.array(text).default([]).describe('Addresses and CIDRs that never get into the table.'),
  history: z
    .strictObject({
      keep: duration()
        .default(24 * 3_600_000)
        .describe('How far back a newly listed indicator is looked for.'),
      flows: count(65_535).default(65_535).describe('Flows that are remembered.'),
    })
    .prefault({}),
  onHit: z
    .strictObject({
      action: z
        .enum(['none', 'pause', 'stop', 'disconnect'])
        .default('none')
        .describe('What the guard does with the container of an attempt.'),
      minConfidence: z
        .int()
        .min(0)
        .max(100)
        .default(0)
        .describe('Only for indicators of at least this confidence.'),
      except: z
        .array(text)
        .default([])
        .describe('Names of containers it is not done to; `*` stands for any characters.'),
    })
    .prefault({}),
});

type At = (path: readonly PropertyKey[], message: string) => void;

/**
 * Checks the section and fills in what depends on other values.
 *
 * @param state directory of the feeds' index.
 * @param inFile makes a path of the file absolute.
 * @param at takes a problem at a path below `egress`.
 */
export function readEgress(
  shape: z.output<typeof egressSchema>,
  state: string,
  inFile: (path: string) => string,
  at: At,
): EgressConfig {
  const networkAt = (value: string, path: readonly PropertyKey[]): Network[] => {
    const parsed = parseNetwork(value);
    if (parsed !== undefined) return [parsed];
    at(path, `${JSON.stringify(value)} is no address and no CIDR`);
    return [];
  };
  const networksAt = (values: readonly string[], path: readonly PropertyKey[]): Network[] =>
    values.flatMap((value, index) => networkAt(value, [...path, index]));
  const allowAt = (values: readonly string[], path: readonly PropertyKey[]): EgressAllow => {
    const networks: Network[] = [];
    const names: string[] = [];
    values.forEach((value, index) => {
      const parsed = parseNetwork(value);
      const name = parsed === undefined ? canonicalAllowed(value) : undefined;
      if (parsed !== undefined) networks.push(parsed);
      else if (name !== undefined) names.push(name);
      else at([...path, index], `${JSON.stringify(value)} is no address, no CIDR and no domain`);
    });
    return { networks, names };
  };
  const hostPortAt = (value: string, path: readonly PropertyKey[], port?: number): HostPort => {
    const parsed = parseHostPort(value, port);
    if (typeof parsed !== 'string') return parsed;
    at(path, `${JSON.stringify(value)}: ${parsed}`);
    return { host: '', port: 0 };
  };

  const { dns, gateway } = shape;
  const { directory, group, maxSize } = shape.attempts;
  const read: EgressConfig = {
    mode: shape.mode,
    table: shape.table,
    state,
    poll: shape.poll,
    attempts: {
      directory: directory === undefined ? resolve(state, '../egress') : inFile(directory),
      ...(group === undefined ? {} : { group }),
      maxSize,
    },
    dns:
      dns === undefined
        ? null
        : {
            ...dns,
            listen: hostPortAt(dns.listen, ['dns', 'listen']),
            upstream: dns.upstream.map((address, index) =>
              hostPortAt(address, ['dns', 'upstream', index], 53),
            ),
            clients: networksAt(dns.clients, ['dns', 'clients']),
          },
    gateway:
      gateway === undefined
        ? null
        : {
            listen: hostPortAt(gateway.listen, ['gateway', 'listen']),
            clients: networksAt(gateway.clients, ['gateway', 'clients']),
            allow: allowAt(gateway.allow, ['gateway', 'allow']),
            ports: gateway.ports,
          },
    networks: shape.networks.map(({ bridge, subnet, allow }, index) => {
      if ((bridge === undefined) === (subnet === undefined)) {
        at(['networks', index], 'needs either "bridge" or "subnet"');
      }
      const parsed = subnet === undefined ? undefined : networkAt(subnet, ['networks', index, 'subnet'])[0];
      return {
        ...(bridge === undefined ? {} : { bridge }),
        ...(parsed === undefined ? {} : { subnet: parsed }),
        allow: allowAt(allow, ['networks', index, 'allow']),
      };
    }),
    neverBlock: networksAt(shape.neverBlock, ['neverBlock']),
    history: shape.history,
    onHit: shape.onHit,
  };
  if (read.dns !== null) checkDns(read.dns, at);
  read.networks.forEach((address, index) => {
    if (read.dns === null && address.allow.names.length > 0) {
      at(
        ['networks', index, 'allow'],
        'domains need "dns": the addresses behind them are learnt by the resolver',
      );
    }
  });
  return read;
}

function checkDns({ listen, upstream }: EgressDns, at: At): void {
  if (/^(127\.|::1$)/.test(listen.host)) {
    at(
      ['dns', 'listen'],
      'queries from containers cannot be redirected to loopback: use an address of a bridge',
    );
  }
  upstream.forEach((address, index) => {
    if (address.host === listen.host && address.port === listen.port) {
      at(['dns', 'upstream', index], 'is the resolver itself: queries would go round in circles');
    }
  });
}

/**
 * Reads a domain that may be reached, its subdomains included: `example.com`, `*.example.com` or `bücher.example`.
 *
 * @returns the canonical name (see indicator.ts); undefined for what is no domain.
 */
function canonicalAllowed(value: string): string | undefined {
  const name = domainToASCII(value.replace(/^\*\./, '').replace(/\.$/, '')).toLowerCase();
  const labels = name.split('.');
  if (name.length > 253 || labels.length < 1 || !labels.every((label) => LABEL.test(label))) return undefined;
  // The last label of a name is never a number (RFC 3696): it would be read as an address.
  return /^\d+$/.test(labels.at(-1)!) ? undefined : name;
}

import { formatIpv4, formatIpv6 } from '../base/address.js';
import { formatNetwork, type Network } from '../base/network.js';
import { difference, type Elements, type Elements4, type Elements6 } from './elements.js';

/** What the rules depend on, beside what is listed. Names of interfaces and of the table are checked by the config. */
export interface RulesetOptions {
  readonly table: string;
  readonly mode: 'block' | 'alert';
  /** Null: DNS is not filtered, port 53 stays as it is. */
  readonly dns: {
    readonly listen: { readonly host: string; readonly port: number };
    readonly upstream: readonly { readonly host: string }[];
    readonly interfaces: readonly string[];
  } | null;
  readonly gateway: { readonly listen: { readonly port: number } } | null;
  readonly networks: readonly {
    readonly bridge?: string;
    readonly subnet?: Network;
    readonly allow: { readonly networks: readonly Network[] };
  }[];
  readonly history: { readonly keep: number; readonly flows: number };
}

/** Protocols whose header begins with two ports. */
const PORTS = '{ tcp, udp, udplite, sctp, dccp }';
/** How long a counted flow stays in its set after its last packet: many polls. */
const FLOW_TIMEOUT = '2m';
/** An address behind an allowed name stays allowed so long after the last packet of its flows (seconds). */
export const NAME_TIMEOUT_SECONDS = 600;
const SET_SIZE = 65_535;
/** Elements in one command. */
const MAX_ELEMENTS_PER_COMMAND = 10_000;

/**
 * Ranges have two sets each. An interval set that is emptied and filled in one transaction lets a packet through now and
 * then; so the other one is filled first, and this one emptied afterwards.
 */
const SIDES = [0, 1] as const;
export type Side = (typeof SIDES)[number];

const FAMILIES = [
  { version: 4, ip: 'ip', type: 'ipv4_addr', nfproto: 'ipv4' },
  { version: 6, ip: 'ip6', type: 'ipv6_addr', nfproto: 'ipv6' },
] as const;

/** Sets that count refused and noted packets: by address, protocol and port, or (x) without a port. */
export const SEEN_SETS = ['seen4', 'seen6', 'seenx4', 'seenx6'] as const;
/** Sets that remember flows for the sweep. */
export const FLOW_SETS = ['flows4', 'flows6'] as const;

/** Name of the timed set with the addresses behind a network's allowed names. */
export function nameSet(network: number, version: 4 | 6): string {
  return `names${network}_${version}`;
}

/**
 * The commands that make sets, chains and rules, without what is listed. They may be run again over a table that has
 * them: elements stay, rules are written anew.
 */
export function skeleton(options: RulesetOptions): string {
  const { table, mode, networks, dns } = options;
  const lines = [`add table inet ${table}`];
  const set = (name: string, spec: string): void =>
    void lines.push(`add set inet ${table} ${name} { ${spec} }`);
  const chain = (name: string, hook: string, rules: readonly string[]): void => {
    lines.push(`add chain inet ${table} ${name}${hook === '' ? '' : ` { ${hook} policy accept; }`}`);
    lines.push(`flush chain inet ${table} ${name}`);
    for (const rule of rules) lines.push(`add rule inet ${table} ${name} ${rule}`);
  };

  for (const { version, type } of FAMILIES) {
    for (const list of ['block', 'alert']) {
      set(`${list}${version}`, `type ${type};`);
      for (const side of SIDES) set(`${list}${version}r${side}`, `type ${type}; flags interval;`);
    }
    const flow = `type ${type} . ${type} . inet_proto . inet_service; flags dynamic,timeout;`;
    set(`seen${version}`, `${flow} size ${SET_SIZE}; timeout ${FLOW_TIMEOUT}; counter;`);
    set(
      `seenx${version}`,
      `type ${type} . ${type} . inet_proto; size ${SET_SIZE}; flags dynamic,timeout; timeout ${FLOW_TIMEOUT}; counter;`,
    );
    set(`flows${version}`, `${flow} size ${options.history.flows}; timeout ${options.history.keep}ms;`);
    networks.forEach((_, index) =>
      set(
        nameSet(index, version),
        `type ${type}; size ${SET_SIZE}; flags dynamic,timeout; timeout ${NAME_TIMEOUT_SECONDS}s;`,
      ),
    );
  }

  chain(
    'history',
    '',
    FAMILIES.map(
      ({ version, ip, nfproto }) =>
        `ct state new meta nfproto ${nfproto} meta l4proto ${PORTS} update @flows${version} { ${ip} saddr . ${ip} daddr . meta l4proto . th dport }`,
    ),
  );
  chain(
    'seen',
    '',
    FAMILIES.flatMap(({ version, ip, nfproto }) => [
      `meta nfproto ${nfproto} meta l4proto ${PORTS} update @seen${version} { ${ip} saddr . ${ip} daddr . meta l4proto . th dport }`,
      `meta nfproto ${nfproto} meta l4proto != ${PORTS} update @seenx${version} { ${ip} saddr . ${ip} daddr . meta l4proto }`,
    ]),
  );
  // INVARIANT: what refuses stands in rules of its own; a full set of counted packets only ends the counting.
  chain('refuse', '', [
    'jump seen',
    'meta l4proto tcp reject with tcp reset',
    'reject with icmpx type admin-prohibited',
  ]);
  /** In alert mode connections are counted, not packets, and nothing is refused. */
  const refuse = mode === 'block' ? 'jump refuse' : 'ct state new jump seen';
  const listed = FAMILIES.flatMap(({ version, ip }) => [
    `${ip} daddr @block${version} jump refuse`,
    ...SIDES.map((side) => `${ip} daddr @block${version}r${side} jump refuse`),
    `ct state new ${ip} daddr @alert${version} jump seen`,
    ...SIDES.map((side) => `ct state new ${ip} daddr @alert${version}r${side} jump seen`),
  ]);
  networks.forEach((network, index) => {
    const passes = allowedRules(network.allow.networks);
    const learnt = FAMILIES.flatMap(({ version, ip }) => [
      `ct state established ${ip} daddr @${nameSet(index, version)} update @${nameSet(index, version)} { ${ip} daddr timeout ${NAME_TIMEOUT_SECONDS}s }`,
      `${ip} daddr @${nameSet(index, version)} return`,
    ]);
    chain(`network${index}`, '', [
      'ct state established,related ct direction reply return',
      // Neighbours: seen here only where the kernel hands bridged packets to the filter at all.
      network.bridge === undefined ? `${to(network.subnet!)} return` : `oifname "${network.bridge}" return`,
      ...passes,
      ...learnt,
      refuse,
    ]);
    // A proxy or a daemon on the host would be the way around.
    chain(`host${index}`, '', [
      'ct state established,related ct direction reply return',
      'meta l4proto ipv6-icmp return',
      ...(dns === null ? [] : [`meta l4proto { tcp, udp } th dport ${dns.listen.port} return`]),
      ...(options.gateway === null ? [] : [`tcp dport ${options.gateway.listen.port} return`]),
      ...passes,
      refuse,
    ]);
  });
  // Queries that the redirection did not take (the other family), and DNS over TLS and QUIC (RFC 7858, RFC 9250).
  chain(
    'bypass',
    '',
    dns === null ? [] : [...exceptUpstream(dns), `meta l4proto { tcp, udp } th dport { 53, 853 } ${refuse}`],
  );
  chain('forward', 'type filter hook forward priority -10;', [
    'jump history',
    ...listed,
    ...(dns === null ? [] : [`${fromContainers(dns)} jump bypass`]),
    ...networks.map((network, index) => `${from(network)} jump network${index}`),
  ]);
  // INVARIANT: what the host says to itself is never refused.
  chain('output', 'type filter hook output priority -10;', [
    'oifname "lo" return',
    'jump history',
    ...listed,
  ]);
  // A resolver of the host itself, where the redirection does not reach: asked over the other family.
  chain(
    'hostdns',
    '',
    dns === null
      ? []
      : [
          ...exceptUpstream(dns),
          `${toResolver(dns)} return`,
          `meta l4proto { tcp, udp } th dport { 53, 853 } ${refuse}`,
        ],
  );
  chain('input', 'type filter hook input priority -10;', [
    ...(dns === null ? [] : [`${fromContainers(dns)} jump hostdns`]),
    ...networks.map((network, index) => `${from(network)} jump host${index}`),
  ]);
  chain(
    'dns',
    'type nat hook prerouting priority -110;',
    dns === null ? [] : [...exceptUpstream(dns), ...redirection(dns)],
  );
  return `${lines.join('\n')}\n`;
}

/** One command that ends the redirection of DNS queries: without a listener, names would not resolve any more. */
export function withoutRedirection(table: string): string {
  return `flush chain inet ${table} dns\n`;
}

type Dns = NonNullable<RulesetOptions['dns']>;

function fromContainers({ interfaces }: Dns): string {
  return interfaces.length === 0
    ? 'meta iifkind "bridge"'
    : `iifname { ${interfaces.map((name) => `"${name}"`).join(', ')} }`;
}

/** An upstream resolver that is itself a container asks on; redirected, it would ask itself. */
function exceptUpstream({ upstream }: Dns): string[] {
  return upstream.map(({ host }) => `${host.includes(':') ? 'ip6' : 'ip'} saddr ${host} return`);
}

function redirection(dns: Dns): string[] {
  const { host, port } = dns.listen;
  const query = `${fromContainers(dns)} meta l4proto { tcp, udp } th dport 53`;
  if (host === '0.0.0.0') return [`meta nfproto ipv4 ${query} redirect to :${port}`];
  if (host === '::') return [`${query} redirect to :${port}`];
  return host.includes(':')
    ? [`meta nfproto ipv6 ${query} dnat ip6 to [${host}]:${port}`]
    : [`meta nfproto ipv4 ${query} dnat ip to ${host}:${port}`];
}

function toResolver({ listen: { host, port } }: Dns): string {
  const query = `meta l4proto { tcp, udp } th dport ${port}`;
  if (host === '0.0.0.0') return `meta nfproto ipv4 ${query}`;
  if (host === '::') return query;
  return `${host.includes(':') ? 'ip6' : 'ip'} daddr ${host} ${query}`;
}

function from({ bridge, subnet }: RulesetOptions['networks'][number]): string {
  if (bridge !== undefined) return `iifname "${bridge}"`;
  return `${subnet!.family === 4 ? 'ip' : 'ip6'} saddr ${formatNetwork(subnet!)}`;
}

function to(network: Network): string {
  return `${network.family === 4 ? 'ip' : 'ip6'} daddr ${formatNetwork(network)}`;
}

function allowedRules(networks: readonly Network[]): string[] {
  return networks.map((network) => `${to(network)} return`);
}

/** The whole table, as it replaces the one there is: one transaction, so that no packet sees half of it. */
export function* wholeTable(options: RulesetOptions, elements: Elements): Iterable<string> {
  yield `add table inet ${options.table}\ndelete table inet ${options.table}\n`;
  yield skeleton(options);
  yield* changes(options.table, NOTHING, elements, 1);
}

const NO_4: Elements4 = { singles: new Uint32Array(), ranges: new Uint32Array() };
const NO_6: Elements6 = { singles: [], ranges: [] };
export const NOTHING: Elements = { block4: NO_4, alert4: NO_4, block6: NO_6, alert6: NO_6, spared: 0 };

/** Do the ranges of two states differ? Then they change sides. */
export function rangesDiffer(old: Elements, now: Elements): boolean {
  return LISTS.some((list) => !same<number | bigint>(old[list].ranges, now[list].ranges));
}

/**
 * The commands that make one state of what is listed into another; none where nothing changed. Where ranges differ, all
 * of the new ones are added on the other side; `emptySide` has to follow, in a transaction of its own.
 *
 * @param side where the old ranges are.
 */
export function* changes(table: string, old: Elements, now: Elements, side: Side): Iterable<string> {
  const moves = rangesDiffer(old, now);
  for (const version of [4, 6] as const) {
    for (const list of ['block', 'alert'] as const) {
      const name = `${list}${version}`;
      const format = (value: number | bigint): string =>
        typeof value === 'number' ? formatIpv4(value) : formatIpv6(value);
      const [from, to] =
        version === 4 ? [old[`${list}4`], now[`${list}4`]] : [old[`${list}6`], now[`${list}6`]];
      yield* changeSingles<number | bigint>(`inet ${table} ${name}`, from.singles, to.singles, format);
      if (moves) yield* addRanges<number | bigint>(`inet ${table} ${name}r${1 - side}`, to.ranges, format);
    }
  }
}

/** Takes the ranges of one side away. INVARIANT: only when the other side has them, and has had them for a transaction. */
export function emptySide(table: string, side: Side): string {
  return LISTS.map((list) => `flush set inet ${table} ${list}r${side}\n`).join('');
}

const LISTS = ['block4', 'alert4', 'block6', 'alert6'] as const;

/**
 * INVARIANT: elements are written from numbers. No text of a feed reaches nft.
 */
function* changeSingles<T extends number | bigint>(
  set: string,
  old: ArrayLike<T>,
  now: ArrayLike<T>,
  format: (value: T) => string,
): Iterable<string> {
  const { gone, come } = difference(old, now);
  yield* commands(`delete element ${set}`, gone.length, (at) => format(gone[at]!));
  yield* commands(`add element ${set}`, come.length, (at) => format(come[at]!));
}

function* addRanges<T extends number | bigint>(
  set: string,
  ranges: ArrayLike<T>,
  format: (value: T) => string,
): Iterable<string> {
  const element = (at: number): string => `${format(ranges[2 * at]!)}-${format(ranges[2 * at + 1]!)}`;
  yield* commands(`add element ${set}`, ranges.length / 2, element);
}

function* commands(command: string, count: number, element: (at: number) => string): Iterable<string> {
  for (let start = 0; start < count; start += MAX_ELEMENTS_PER_COMMAND) {
    const texts: string[] = [];
    for (let at = start; at < Math.min(count, start + MAX_ELEMENTS_PER_COMMAND); at++)
      texts.push(element(at));
    yield `${command} { ${texts.join(', ')} }\n`;
  }
}

function same<T>(a: ArrayLike<T>, b: ArrayLike<T>): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

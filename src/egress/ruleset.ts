import { formatIpv4 } from '../intel/canonical-address.js';
import type { Network } from '../policy/cidr.js';
import { formatIpv6, formatNetwork } from './addresses.js';
import { difference, type Elements, type Elements4, type Elements6 } from './elements.js';

/** What the rules depend on, beside what is listed. Names of interfaces and of the table are checked by the config. */
export interface RulesetOptions {
  readonly table: string;
  readonly mode: 'block' | 'alert';
  /** Null: names are nobody's business, port 53 stays as it is. */
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
const SEEN_TIMEOUT = '2m';
/** An address behind an allowed name stays allowed so long after the last packet of its flows (seconds). */
export const NAME_TIMEOUT = 600;
const SET_SIZE = 65_535;
/** Elements in one command. */
const PIECE = 10_000;

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
      set(`${list}${version}r`, `type ${type}; flags interval;`);
    }
    const flow = `type ${type} . ${type} . inet_proto . inet_service; flags dynamic,timeout;`;
    set(`seen${version}`, `${flow} size ${SET_SIZE}; timeout ${SEEN_TIMEOUT}; counter;`);
    set(
      `seenx${version}`,
      `type ${type} . ${type} . inet_proto; size ${SET_SIZE}; flags dynamic,timeout; timeout ${SEEN_TIMEOUT}; counter;`,
    );
    set(`flows${version}`, `${flow} size ${options.history.flows}; timeout ${options.history.keep}ms;`);
    networks.forEach((_, index) =>
      set(
        nameSet(index, version),
        `type ${type}; size ${SET_SIZE}; flags dynamic,timeout; timeout ${NAME_TIMEOUT}s;`,
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
    `${ip} daddr @block${version}r jump refuse`,
    `ct state new ${ip} daddr @alert${version} jump seen`,
    `ct state new ${ip} daddr @alert${version}r jump seen`,
  ]);
  networks.forEach((network, index) => {
    const passes = allowedRules(network.allow.networks);
    const learnt = FAMILIES.flatMap(({ version, ip }) => [
      `ct state established ${ip} daddr @${nameSet(index, version)} update @${nameSet(index, version)} { ${ip} daddr timeout ${NAME_TIMEOUT}s }`,
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
  chain(
    'input',
    'type filter hook input priority -10;',
    networks.map((network, index) => `${from(network)} jump host${index}`),
  );
  chain(
    'dns',
    'type nat hook prerouting priority -110;',
    dns === null ? [] : [...exceptUpstream(dns), ...redirection(dns)],
  );
  return `${lines.join('\n')}\n`;
}

/** One command that ends the redirection of DNS queries: when nobody listens any more, names would stop working. */
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
  yield* changes(options.table, NOTHING, elements);
}

const NO_4: Elements4 = { singles: new Uint32Array(), ranges: new Uint32Array() };
const NO_6: Elements6 = { singles: [], ranges: [] };
export const NOTHING: Elements = { block4: NO_4, alert4: NO_4, block6: NO_6, alert6: NO_6, spared: 0 };

/** The commands that make one state of what is listed into another; none where nothing changed. */
export function* changes(table: string, old: Elements, now: Elements): Iterable<string> {
  for (const list of ['block', 'alert'] as const) {
    yield* change(table, `${list}4`, old[`${list}4`], now[`${list}4`], formatIpv4);
    yield* change(table, `${list}6`, old[`${list}6`], now[`${list}6`], formatIpv6);
  }
}

/**
 * INVARIANT: elements are written from numbers. No text of a feed reaches nft.
 */
function* change<T extends number | bigint>(
  table: string,
  name: string,
  old: { readonly singles: ArrayLike<T>; readonly ranges: ArrayLike<T> },
  now: { readonly singles: ArrayLike<T>; readonly ranges: ArrayLike<T> },
  format: (value: T) => string,
): Iterable<string> {
  const { gone, come } = difference(old.singles, now.singles);
  yield* commands(`delete element inet ${table} ${name}`, gone.length, (at) => format(gone[at]!));
  yield* commands(`add element inet ${table} ${name}`, come.length, (at) => format(come[at]!));
  if (same(old.ranges, now.ranges)) return;
  // Few, and an interval set costs more to change than to fill.
  yield `flush set inet ${table} ${name}r\n`;
  yield* commands(
    `add element inet ${table} ${name}r`,
    now.ranges.length / 2,
    (at) => `${format(now.ranges[2 * at]!)}-${format(now.ranges[2 * at + 1]!)}`,
  );
}

function* commands(command: string, count: number, element: (at: number) => string): Iterable<string> {
  for (let start = 0; start < count; start += PIECE) {
    const texts: string[] = [];
    for (let at = start; at < Math.min(count, start + PIECE); at++) texts.push(element(at));
    yield `${command} { ${texts.join(', ')} }\n`;
  }
}

function same<T>(a: ArrayLike<T>, b: ArrayLike<T>): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

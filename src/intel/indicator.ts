/**
 * Indicators of compromise, as every part of the guard sees them. Values are canonical (see canonical.ts), so that two
 * spellings of one thing are one value:
 *
 * | type   | value                                                                                             |
 * | ------ | ------------------------------------------------------------------------------------------------- |
 * | ipv4   | `198.51.100.7`, or a prefix `198.51.100.0/24`                                                       |
 * | ipv6   | RFC 5952 text, or a prefix `2001:db8::/32`; never an IPv4 address in disguise                       |
 * | domain | lower-case ASCII (punycode) without a trailing dot; its subdomains are meant too                    |
 * | url    | `host[:port]/path[?query]`: no scheme, no default port, no fragment, no user, plain percent-encoding |
 * | hash   | lower-case hex of MD5, SHA-1, SHA-256 or SHA-512, distinguished by length; image digests are SHA-256    |
 */
export type IndicatorType = 'ipv4' | 'ipv6' | 'domain' | 'url' | 'hash';

/** What happens on a hit: `block` makes it a hazard, `alert` only puts it on record. */
export type IndicatorAction = 'block' | 'alert';

/** One entry of a feed. Times are seconds since 1970; 0 where the feed states none. */
export interface Indicator {
  readonly type: IndicatorType;
  readonly value: string;
  /** 0 to 100, as the feed states it; undefined where it states none and the feed's own setting counts. */
  readonly confidence: number | undefined;
  readonly firstSeen: number;
  readonly lastSeen: number;
  /** From then on it is no indicator any more; 0: the feed's TTL decides. */
  readonly expires: number;
  /** Malware family or category, at most 64 characters; may be empty. */
  readonly threat: string;
  /** Port of a C2 server, 0 where none is stated. It is reported, not matched: the address is bad on every port. */
  readonly port: number;
}

/** An indicator in force: what a look-up answers. */
export interface Hit {
  readonly type: IndicatorType;
  /** The listed value, canonical: for `a.c2.example` it may be `c2.example`, for an address its prefix. */
  readonly indicator: string;
  readonly action: IndicatorAction;
  /** Name of the feed that lists it; the one with the strongest action, then confidence, where several do. */
  readonly feed: string;
  readonly confidence: number;
  readonly threat: string;
  readonly port: number;
}

/** An indicator found in something: the hit, what it read like there (at most 200 characters), and where that was. */
export interface IndicatorMatch {
  readonly hit: Hit;
  readonly value: string;
  /** `image`, `/Env/2`, `Dockerfile line 3`, `context file dock/main.sh` … */
  readonly where: string;
}

/** Look-ups in everything that is listed. Immutable; a reload makes a new one. */
export interface IndicatorIndex {
  /** Listed indicators by type; nothing is looked for where all are 0. */
  readonly counts: Readonly<Record<IndicatorType, number>>;
  /** Hash lengths (in hex digits) that occur, so that no others are computed. */
  readonly hashLengths: readonly number[];
  /** An address as an unsigned 32-bit number. */
  ipv4(address: number): Hit | undefined;
  /** An address as four unsigned 32-bit numbers. */
  ipv6(a: number, b: number, c: number, d: number): Hit | undefined;
  /** A canonical domain; listed parents count. */
  domain(name: string): Hit | undefined;
  /** A canonical URL, with and without its query. */
  url(url: string): Hit | undefined;
  /** Whether a URL on this canonical host, without port and brackets, may be listed; one in eight other hosts is taken for one. */
  urlHost(host: string): boolean;
  /** Lower-case hex. */
  hash(hex: string): Hit | undefined;
  /** All IPv4 ranges, ascending, disjoint, `from` and `to` included; for the packet filter. */
  ranges4(): Iterable<{ readonly from: number; readonly to: number; readonly hit: Hit }>;
  /** All IPv6 ranges, ascending, disjoint, as bigint. */
  ranges6(): Iterable<{ readonly from: bigint; readonly to: bigint; readonly hit: Hit }>;
}

import { rangeToPrefixes } from '../../base/network.js';
import { canonicalIndicator } from '../canonical.js';
import type { Indicator, IndicatorType } from '../indicator.js';
import { refang } from './refang.js';
import { quote, reject, type Run, type Where } from './run.js';

/** What a column or list holds: a type, `address` for IPv4 or IPv6 in every spelling of lists, or anything. */
export type ValueKind = 'address' | 'domain' | 'url' | 'hash' | 'any';

/** One value as its feed spells it, made canonical. */
export interface Value {
  readonly type: IndicatorType;
  readonly value: string;
  readonly port: number;
}

/** What a feed says about an entry besides its value; see Indicator. */
export interface Context {
  readonly confidence?: number | undefined;
  readonly firstSeen?: number;
  readonly lastSeen?: number;
  readonly expires?: number;
  readonly threat?: string;
  readonly port?: number;
}

const MAX_VALUE = 4096;
const MAX_THREAT = 64;
const SHORTEST_HASH = 32;

/**
 * The canonical values that a text stands for: one, or the prefixes of a range `a-b`; none when it is no value of that
 * kind. Hosts may carry a port, and everything may be defanged: a list cannot mean anything else by `[.]`.
 */
export function readValue(kind: ValueKind, text: string): readonly Value[] {
  if (text.length > MAX_VALUE) return [];
  return READERS[kind](refang(text.trim()));
}

/** The indicators of one entry. What is no value is rejected. */
export function* indicatorsOf(
  kind: ValueKind,
  text: string,
  context: Context,
  run: Run,
  where: Where,
): Generator<Indicator> {
  const values = readValue(kind, text);
  if (values.length === 0) reject(run, where, `${quote(text)} is ${NAMES[kind]}`);
  for (const value of values) yield indicator(value, context);
}

/** An indicator of a value and what its feed says about it. */
export function indicator({ type, value, port }: Value, context: Context): Indicator {
  return {
    type,
    value,
    confidence: context.confidence,
    firstSeen: context.firstSeen ?? 0,
    lastSeen: context.lastSeen ?? 0,
    expires: context.expires ?? 0,
    threat: context.threat ?? '',
    port: port === 0 ? (context.port ?? 0) : port,
  };
}

/** A name for a threat: one line, at most 64 characters. */
export function threatName(text: string): string {
  return text
    .slice(0, 4 * MAX_THREAT)
    .replace(/[\s\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ')
    .trim()
    .slice(0, MAX_THREAT);
}

/** A port from 1 to 65535, else 0. */
export function portNumber(text: string): number {
  if (!/^\d{1,5}$/.test(text)) return 0;
  const port = Number(text);
  return port <= 65_535 ? port : 0;
}

/** A confidence from 0 to 100; undefined when it is no number. */
export function confidenceOf(text: string): number | undefined {
  if (!/^\d{1,3}(?:\.\d{1,6})?$/.test(text)) return undefined;
  return Math.min(100, Math.round(Number(text)));
}

const NAMES: Readonly<Record<ValueKind, string>> = {
  address: 'no IP address, prefix or range',
  domain: 'no domain',
  url: 'no URL',
  hash: 'no MD5, SHA-1, SHA-256 or SHA-512',
  any: 'no address, domain, URL or hash',
};

const READERS: Readonly<Record<ValueKind, (text: string) => readonly Value[]>> = {
  address: readAddress,
  domain: readName,
  url: (text) => single('url', text),
  hash: readHash,
  any: (text) => {
    if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return single('url', text);
    const hash = text.length >= SHORTEST_HASH ? readHash(text) : [];
    if (hash.length > 0) return hash;
    const address = /^[\d[]|:/.test(text) ? readAddress(text) : [];
    if (address.length > 0) return address;
    const name = readName(text);
    if (name.length > 0) return name;
    return text.includes('/') ? single('url', text) : [];
  },
};

function single(type: IndicatorType, text: string, port = 0): readonly Value[] {
  const value = canonicalIndicator(type, text);
  return value === undefined ? [] : [{ type, value, port }];
}

function readHash(text: string): readonly Value[] {
  return single('hash', text.startsWith('sha256:') ? text.slice('sha256:'.length) : text);
}

function readAddress(text: string): readonly Value[] {
  const plain = addressOnly(text, 0);
  if (plain.length > 0) return plain;
  const withPort = /^(?:([\d.]+)|\[([\da-f:.]+)\]):(\d{1,5})$/i.exec(text);
  if (withPort !== null) return addressOnly(withPort[1] ?? withPort[2] ?? '', portNumber(withPort[3] ?? ''));
  const bracketed = /^\[([\da-f:.]+)\]$/i.exec(text);
  if (bracketed !== null) return addressOnly(bracketed[1] ?? '', 0);
  const range = /^([\da-f.:]+)\s*-\s*([\da-f.:]+)$/i.exec(text);
  const prefixes = range === null ? [] : (rangeToPrefixes(range[1] ?? '', range[2] ?? '') ?? []);
  return prefixes.flatMap((prefix) => addressOnly(prefix, 0));
}

/** An IPv6 address that only wraps an IPv4 address is that. */
function addressOnly(text: string, port: number): readonly Value[] {
  const values = single('ipv4', text, port);
  return values.length === 0 && text.includes(':') ? single('ipv6', text, port) : values;
}

/** A domain has two labels at least: a feed that lists `localhost` or a word would block names of the own network. */
function readName(text: string): readonly Value[] {
  if (!text.includes('.') && !/[^\x00-\x7f]/.test(text)) return [];
  const colon = text.lastIndexOf(':');
  const port = colon > 0 ? portNumber(text.slice(colon + 1)) : 0;
  return port > 0 ? single('domain', text.slice(0, colon), port) : single('domain', text);
}

import { parseLooseIpv4 } from '../base/address.js';
import { formatHost, readHost, splitPort, type Host } from './canonical-host.js';
import { canonicalRest, MAX_URL_LENGTH, readUrl } from './canonical-url.js';
import type { Hit, IndicatorIndex, IndicatorMatch } from './indicator.js';
import {
  DASH,
  DIGIT,
  DOT,
  endOfToken,
  HOST,
  isDotLike,
  isWide,
  kindOf,
  SLASH,
  SOFT,
  UPPER,
} from './scan-characters.js';

export interface Scan {
  readonly matches: readonly IndicatorMatch[];
  /** Not everything was searched: there are more matches than are listed, or the text is made to be slow. */
  readonly truncated: boolean;
}

/**
 * Budget for searching, shared by the texts of one call: a unit is about 5 ns. Without one, the search is bounded by the
 * length of each text alone.
 */
export interface ScanBudget {
  left: number;
}

const NOTHING: Scan = Object.freeze({ matches: Object.freeze([]), truncated: false });

const MAX_VALUE_LENGTH = 200;
/** Matches in one text: further alerts are left out, further blocked ones set `truncated`. */
const MAX_MATCHES = 256;
/** Places where a URL may end before its token does: `http://h/a;sh`, `(http://h/a)`. */
const MAX_URL_ENDS = 8;

/**
 * Each character of a text is read once; only what needs more (URLs on hosts that have listed URLs, percent signs and other
 * scripts in hosts) is charged: its length and a fixed price, against this many for each character and a floor.
 */
const WORK_PER_CHARACTER = 16;
const WORK_FLOOR = 65_536;
const WORK_PRICE = 128;

/** Prices in units of a ScanBudget, as measured: a text, a character, a place where something is looked up, slow work. */
const TEXT_PRICE = 512;
const CHARACTER_PRICE = 2;
const PLACE_PRICE = 96;
const SLOW_FACTOR = 5;

/** Longest IPv6 address with a name before it and a port behind. */
const MAX_IPV6_LENGTH = 64;

interface State {
  readonly text: string;
  readonly index: IndicatorIndex;
  readonly where: string;
  readonly hasUrls: boolean;
  readonly hasAddresses: boolean;
  readonly longHash: number;
  work: number;
  readonly budget: ScanBudget;
  matches: Map<string, IndicatorMatch> | undefined;
  truncated: boolean;
  /** The last scheme with its slashes: where it starts, where its host may start, and where that must be over. */
  urlFrom: number;
  hostFrom: number;
  hostEnd: number;
}

/**
 * Finds what is listed in free text: URLs of any scheme and without one, `git@host:path`, addresses in the spellings that
 * clients take, domains with their subdomains, `host:port`, hashes and digests. One pass; see WORK_PER_CHARACTER.
 * A number without dots is an address only where a host must stand (behind `//`, `@`, `/dev/tcp/`), and so is one with
 * less than four parts, which may be a version, unless one of its parts gives it away.
 * INVARIANT: a budget that is used up ends the search and sets `truncated`.
 */
export function scanText(
  text: string,
  index: IndicatorIndex,
  where: string,
  budget: ScanBudget = { left: Number.POSITIVE_INFINITY },
): Scan {
  const { ipv4, ipv6, domain, url, hash } = index.counts;
  const hasHosts = ipv4 + ipv6 + domain + url > 0;
  if ((!hasHosts && hash === 0) || text.length < 3) return NOTHING;
  const state: State = {
    text,
    index,
    where,
    hasUrls: url > 0,
    hasAddresses: ipv4 + ipv6 > 0,
    longHash: Math.min(...index.hashLengths),
    work: WORK_PER_CHARACTER * text.length + WORK_FLOOR,
    budget,
    matches: undefined,
    truncated: false,
    urlFrom: 0,
    hostFrom: -1,
    hostEnd: -1,
  };
  budget.left -= TEXT_PRICE + CHARACTER_PRICE * text.length;
  let wideEnd = 0;
  let ipv6End = 0;
  for (let at = 0; at < text.length;) {
    if (budget.left < 0) {
      state.truncated = true;
      break;
    }
    const code = text.charCodeAt(at);
    if (code >= 128) {
      if (at >= wideEnd && hasHosts && isWide(code)) wideEnd = scanWide(state, at);
      at++;
      continue;
    }
    const kind = kindOf(code);
    if ((kind & (HOST | DOT)) !== 0) {
      const from = at;
      let dots = 0;
      let kinds = 0;
      for (let next = kind; ;) {
        kinds |= next;
        if ((next & DOT) !== 0) dots++;
        at++;
        if (at === text.length) break;
        const following = kindOf(text.charCodeAt(at));
        // Two dots in a row end a name.
        if ((following & (HOST | DOT)) === 0 || (next & following & DOT) !== 0) break;
        next = following;
      }
      if (at - from >= state.longHash) scanHashes(state, from, at);
      if (!hasHosts) continue;
      if (dots > 0 || isHostPlace(state, from, at)) scanRun(state, from, at, kinds);
      if (state.hasAddresses && from >= ipv6End && at - from <= 4 && text.charCodeAt(at) === 0x3a) {
        ipv6End = scanIpv6(state, from);
      }
      if (text.charCodeAt(at) === 0x3a) findScheme(state, from, at);
      continue;
    }
    if (code === 0x3a && at >= ipv6End && state.hasAddresses && text.charCodeAt(at + 1) === 0x3a) {
      ipv6End = scanIpv6(state, at);
    }
    at++;
  }
  if (state.matches === undefined) return state.truncated ? { matches: [], truncated: true } : NOTHING;
  return { matches: [...state.matches.values()], truncated: state.truncated };
}

/** A text that is a host, with or without a port, brackets, dots at its end. */
export function scanHost(text: string, index: IndicatorIndex, where: string): IndicatorMatch | undefined {
  const host = readHost(splitPort(text.trim()).host);
  const hit = host === undefined ? undefined : lookUp(index, host);
  return hit === undefined ? undefined : { hit, value: text.slice(0, MAX_VALUE_LENGTH), where };
}

/** A text that is a hash in hex, with or without its algorithm: `sha256:…`. */
export function scanHash(text: string, index: IndicatorIndex, where: string): IndicatorMatch | undefined {
  const hit = index.hash(text.slice(text.indexOf(':') + 1).toLowerCase());
  return hit === undefined ? undefined : { hit, value: text.slice(0, MAX_VALUE_LENGTH), where };
}

function lookUp(index: IndicatorIndex, host: Host): Hit | undefined {
  switch (host.kind) {
    case 'ipv4':
      return index.ipv4(host.address);
    case 'ipv6':
      return index.ipv6(...host.words);
    case 'domain':
      return index.domain(host.name);
  }
}

function addMatch(state: State, hit: Hit | undefined, from: number, to: number): void {
  if (hit === undefined) return;
  state.matches ??= new Map();
  const key = `${hit.type} ${hit.indicator}`;
  if (state.matches.has(key)) return;
  if (state.matches.size >= MAX_MATCHES) {
    if (hit.action === 'block') state.truncated = true;
    return;
  }
  const value = state.text.slice(from, Math.min(to, from + MAX_VALUE_LENGTH));
  state.matches.set(key, { hit, value, where: state.where });
}

/** Takes the price of something slow; false, and `truncated`, when the text has used up what it may cost. */
function spendWork(state: State, length: number): boolean {
  state.work -= WORK_PRICE + length;
  state.budget.left -= SLOW_FACTOR * (WORK_PRICE + length);
  if (state.work >= 0 && state.budget.left >= 0) return true;
  state.truncated = true;
  return false;
}

/** Whether only a host can stand here. */
function isHostPlace({ text, hostFrom, hostEnd }: State, from: number, to: number): boolean {
  if (from === hostFrom) return true;
  const before = text.charCodeAt(from - 1);
  // Behind an `@` alone may be a version: `package@5.188.3`.
  if (before === 0x40) return from < hostEnd || text.charCodeAt(to) === 0x3a;
  if (before !== 0x2f && before !== 0x5c) return false;
  if ((kindOf(text.charCodeAt(from - 2)) & SLASH) !== 0) return true;
  return text.startsWith('/dev/tcp/', from - 9) || text.startsWith('/dev/udp/', from - 9);
}

/** A run of letters, digits, dots, dashes and underscores: a name or an IPv4 address. */
function scanRun(state: State, start: number, end: number, kinds: number): void {
  state.budget.left -= PLACE_PRICE;
  const { text, index } = state;
  let [from, to] = [start, end];
  while (from < to && (kindOf(text.charCodeAt(from)) & (DOT | DASH)) !== 0) from++;
  while (from < to && (kindOf(text.charCodeAt(to - 1)) & (DOT | DASH)) !== 0) to--;
  if (from === to) return;
  const written = text.slice(from, to);
  const run = (kinds & UPPER) === 0 ? written : written.toLowerCase();
  const last = run.lastIndexOf('.') + 1;
  const numeric = (kindOf(run.charCodeAt(last)) & DIGIT) !== 0;
  if (numeric && run.length - last <= 12) {
    scanNumbers(state, run, from, isHostPlace(state, from, end));
  }
  addMatch(state, index.domain(run), from, to);
  // `-xevil.example`, the argument right behind its flag; `\nevil.example`, a line end that is still escaped.
  const before = text.charCodeAt(from - 1);
  if (before === 0x2d || before === 0x5c) addMatch(state, index.domain(run.slice(1)), from + 1, to);
  if (state.hasUrls && leadsOn(state, from, end)) {
    const host = numeric ? readHost(run) : undefined;
    scanUrlAt(state, from, end, host === undefined ? run : formatHost(host));
  }
}

/** Whether a URL may go on behind a host. */
function leadsOn(state: State, from: number, end: number): boolean {
  const next = state.text.charCodeAt(end);
  return (
    next === 0x2f ||
    next === 0x5c ||
    next === 0x3a ||
    next === 0x3f ||
    next === 0x23 ||
    isHostPlace(state, from, end)
  );
}

/** A run whose last label is a number, or looks like one: an IPv4 address, alone or glued to something. */
function scanNumbers(state: State, run: string, from: number, hostPlace: boolean): void {
  const try4 = (start: number, end: number): boolean => {
    const text = run.slice(start, end);
    const address = parseLooseIpv4(text);
    if (address === undefined || !(hostPlace || isOutspoken(text))) return false;
    addMatch(state, state.index.ipv4(address), from + start, from + end);
    return true;
  };
  if (try4(0, run.length)) return;
  // `HOST_198.51.100.7`, `198.51.100.7-198.51.100.9`, `-h198.51.100.7`.
  const [first, last] = [run.search(/[-_]/), Math.max(run.lastIndexOf('-'), run.lastIndexOf('_'))];
  if (first > 0) try4(0, first);
  if (last > 0) try4(last + 1, run.length);
  const digit = run.search(/[0-9]/);
  if (digit > 0 && digit !== last + 1) try4(digit, run.length);
}

/** Whether this is written in a way that no version or decimal number is. */
function isOutspoken(text: string): boolean {
  const parts = text.split('.');
  return parts.length === 4 || (parts.length > 1 && (text.includes('x') || Number(parts.at(-1)) > 255));
}

/** Looks for listed URLs that start with a canonical host, if any has that host at all. */
function scanUrlAt(state: State, from: number, end: number, host: string): void {
  const { text, index, hostEnd, urlFrom } = state;
  if (state.work < 0 || !index.urlHost(host)) return;
  if (text.charCodeAt(from - 1) === 0x40 && text.charCodeAt(end) === 0x3a) {
    // git@host:path
    const path = text.slice(end + 1, endOfToken(text, end + 1, from + MAX_URL_LENGTH));
    if (!/^\d+(?:[/\\?#]|$)/.test(path)) scanUrl(state, `${host}/${path}`, from);
  }
  const start = from < hostEnd ? urlFrom : from;
  scanUrl(state, text.slice(start, endOfToken(text, from, start + MAX_URL_LENGTH)), start);
}

/** A text that starts with a URL: where it ends is tried, it may be anything that a shell or a sentence says. */
function scanUrl(state: State, token: string, from: number): void {
  if (!spendWork(state, 4 * token.length)) return;
  // Slashes as JSON in a text may have them.
  const url = readUrl(token.replaceAll('\\/', '/'));
  if (url === undefined) return;
  addMatch(state, lookUp(state.index, url.host), from, from + token.length);
  if (!state.hasUrls || !state.index.urlHost(formatHost(url.host))) return;
  for (const end of endsOf(url.rest)) {
    if (!spendWork(state, 4 * end)) return;
    const rest = canonicalRest(url.rest.slice(0, end));
    if (rest !== undefined) addMatch(state, state.index.url(url.origin + rest), from, from + token.length);
  }
}

/** Where a URL may end: at the end of its token, before punctuation there, at the first characters that may end it. */
function endsOf(rest: string): number[] {
  const ends = [rest.length];
  let trimmed = rest.length;
  while (trimmed > 0 && '.:?!'.includes(rest[trimmed - 1]!)) trimmed--;
  if (trimmed < rest.length) ends.push(trimmed);
  for (const { index } of rest.matchAll(SOFT)) {
    if (ends.length === MAX_URL_ENDS) break;
    if (index > 0) ends.push(index);
  }
  return ends;
}

/** Behind a run and a colon: notes where a scheme's host starts, and reads hosts at once that need decoding. */
function findScheme(state: State, from: number, colon: number): void {
  const { text } = state;
  let at = colon + 1;
  while (at < text.length && (kindOf(text.charCodeAt(at)) & SLASH) !== 0) at++;
  const slashes = at - colon - 1;
  if (
    slashes === 0 ||
    (slashes === 1 && !/^(?:https?|ftp|wss?)$/i.test(text.slice(Math.max(from, colon - 6), colon)))
  ) {
    return;
  }
  let end = at;
  let needsReading = false;
  for (const most = Math.min(text.length, at + MAX_URL_LENGTH); end < most; end++) {
    const code = text.charCodeAt(end);
    if (code === 0x25 || code === 0x5b) needsReading = true;
    else if (code <= 0x20 || code === 0x22 || code === 0x27 || code === 0x3f || code === 0x23) break;
    else if ((kindOf(code) & SLASH) !== 0) break;
  }
  state.budget.left -= PLACE_PRICE;
  state.urlFrom = from;
  state.hostFrom = at;
  state.hostEnd = end;
  if (needsReading && state.work >= 0)
    scanUrl(state, text.slice(from, endOfToken(text, at, from + MAX_URL_LENGTH)), from);
}

/**
 * Letters and dots of other scripts: `ｅvil。example`. What stands around them belongs to the name.
 *
 * @returns where the name is over.
 */
function scanWide(state: State, at: number): number {
  const { text } = state;
  const belongs = (code: number): boolean =>
    code < 128 ? (kindOf(code) & (HOST | DOT)) !== 0 : isWide(code);
  let from = at;
  while (from > 0 && at - from < MAX_URL_LENGTH && belongs(text.charCodeAt(from - 1))) from--;
  let to = at;
  let dots = false;
  for (; to < text.length && belongs(text.charCodeAt(to)); to++) dots ||= isDotLike(text.charCodeAt(to));
  const hostPlace = isHostPlace(state, from, to);
  dots ||= text.slice(from, at).includes('.');
  if (!dots && !hostPlace) return to;
  if (to - from > MAX_URL_LENGTH) {
    // A client may still read it as a host: some characters are removed from names.
    if (hostPlace) state.truncated = true;
    return to;
  }
  if (!spendWork(state, 4 * (to - from))) return to;
  const host = readHost(text.slice(from, to));
  if (host === undefined) return to;
  addMatch(state, lookUp(state.index, host), from, to);
  if (state.hasUrls && leadsOn(state, from, to)) scanUrlAt(state, from, to, formatHost(host));
  return to;
}

/**
 * Digits and colons: an IPv6 address, alone, behind a name (`host:2001:db8::1`), or with a port.
 *
 * @returns where it is over.
 */
function scanIpv6(state: State, from: number): number {
  const { text } = state;
  let to = from;
  let colons = 0;
  let first = -1;
  let last = -1;
  for (; to < text.length; to++) {
    const code = text.charCodeAt(to);
    if (code === 0x3a) {
      colons++;
      if (first === -1) first = to;
      last = to;
    } else if (code !== 0x2e && !isHex(code)) break;
  }
  if (colons < 2 || to - from < 3 || to - from > MAX_IPV6_LENGTH) return to;
  const try6 = (start: number, end: number): void => {
    state.budget.left -= PLACE_PRICE;
    const host = readHost(text.slice(start, end));
    if (host !== undefined && host.kind !== 'domain') addMatch(state, lookUp(state.index, host), start, end);
  };
  try6(from, to);
  if (colons > 2) {
    try6(first + 1, to);
    if (last < to - 1) try6(from, last);
  }
  return to;
}

function isHex(code: number): boolean {
  const letter = code | 32;
  return (code >= 0x30 && code <= 0x39) || (letter >= 0x61 && letter <= 0x66);
}

/** A long run: parts of it that are hashes in the lengths that are listed. */
function scanHashes(state: State, from: number, to: number): void {
  const { text, index } = state;
  let start = from;
  let hex = true;
  for (let at = from; at <= to; at++) {
    const code = at === to ? 0x2e : text.charCodeAt(at);
    if ((kindOf(code) & (DOT | DASH)) !== 0) {
      if (hex && index.hashLengths.includes(at - start)) {
        state.budget.left -= PLACE_PRICE;
        addMatch(state, index.hash(text.slice(start, at).toLowerCase()), start, at);
      }
      start = at + 1;
      hex = true;
    } else if (hex) hex = isHex(code);
  }
}

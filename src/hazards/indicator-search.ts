import type { Work } from '../base/work.js';
import { decodeVariants } from '../docker/shell-text.js';
import type { TextBudget, Variable } from '../docker/shell-command.js';
import type { IndicatorIndex, IndicatorMatch } from '../intel/indicator.js';
import { scanHost, scanText } from '../intel/scan.js';
import { FETCHERS } from './command.js';

/** More matches than this in one call are not listed: the rest is `opaque:text`. */
export const MAX_MATCHES = 256;

/** The steps of a pointer, or a place in words. The array may change afterwards; it is read at once. */
export type Place = string | readonly (string | number)[];

/** A search through the texts of one call. */
export interface Search {
  readonly index: IndicatorIndex;
  readonly matches: IndicatorMatch[];
  /** Indicator and place of each. */
  readonly seen: Set<string>;
  /** Pays for searching and decoding. */
  readonly work: Work;
  /** Budget for the output of the decoders. */
  readonly budget: TextBudget;
  /** Characters that may still be given to the decoders. */
  decodable: number;
  /** What pointers start with, such as `?labels`; empty for pointers into the body. */
  prefix: string;
  /** A budget ran out: not everything was searched. */
  truncated: boolean;
  /** The environment of the commands of the call, as far as the call states it. */
  variable: Variable;
}

/** Characters of one call that are decoded: decoding is slow, and the call has not been allowed yet. */
const MAX_DECODED_LENGTH = 96 * 1024;
/** No kernel passes longer words to a program (MAX_ARG_STRLEN): they are data. */
export const MAX_WORD_LENGTH = 128 * 1024;

/** Decoding may write this much in any call, plus four times the length of the encoded texts. */
const MIN_DECODED_LENGTH = 64 * 1024;
const DECODED_GROWTH = 4;

/** The price of each text. */
const TEXT_PRICE = 32;

/** @param work pays for it: the attack is a body made of names, addresses or labels and nothing else. */
export function startSearch(index: IndicatorIndex, work: Work): Search {
  return {
    index,
    matches: [],
    seen: new Set(),
    work,
    budget: { left: MIN_DECODED_LENGTH, work },
    decodable: MAX_DECODED_LENGTH,
    prefix: '',
    truncated: false,
    variable: () => undefined,
  };
}

const HEX = 1;
const BLOB = 2;
const DIGIT = 4;
const LIST = 8;
/** Flags of a text, see `classify`. */
const DIRECT = 16;
const HIDDEN = 32;
const NUMERIC = 64;
const CODED = 128;

const DOT = 0x2e;
const COLON = 0x3a;

/** What each ASCII character says about the text that it stands in. */
const CLASSES = new Uint8Array(128);
for (let code = 0; code < 128; code++) {
  const character = String.fromCharCode(code);
  let flags = 0;
  if (/[0-9a-fA-F]/.test(character)) flags |= HEX;
  if (/[A-Za-z0-9+/_-]/.test(character)) flags |= BLOB;
  if (/[0-9]/.test(character)) flags |= DIGIT;
  if (/[\s,;:]/.test(character)) flags |= LIST;
  if (code === DOT) flags |= DIRECT;
  if (/[\\%$'"`{|]/.test(character)) flags |= HIDDEN;
  CLASSES[code] = flags;
}

/** No indicator is shorter. */
export const MIN_LENGTH = 4;

/** Ids of images and containers: hexadecimal, but no encoded text. */
const DIGEST = /^(?:sha256:)?[0-9a-f]{64}$/;

/** Shorter runs of base64 hide no address. */
const MIN_BLOB_LENGTH = 16;

/**
 * What a text may hold, in one pass: DIRECT: an address, a domain, a URL or a hash as it stands; HIDDEN: quotes,
 * escapes or variables that change what it says; CODED: base64, hexadecimal or a list of character codes; NUMERIC: an
 * IPv4 address without dots. Most texts hold none of these and are not searched any further.
 */
function classify(text: string): number {
  let flags = 0;
  let blob = 0;
  let hex = 0;
  let digits = 0;
  let list = 0;
  let before = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code >= 128) {
      // Full-width digits and dots, other scripts.
      flags |= DIRECT;
      blob = hex = digits = before = 0;
      continue;
    }
    const of = CLASSES[code]!;
    flags |= of & (DIRECT | HIDDEN);
    if ((of & BLOB) === 0) {
      blob = 0;
      if ((of & LIST) !== 0) {
        // IPv6 has two colons in a row, or seven of them.
        if (code === COLON && before === COLON) flags |= DIRECT;
        if (++list === 7) flags |= CODED | DIRECT;
      }
    } else if (++blob === MIN_BLOB_LENGTH) flags |= CODED;
    if ((of & HEX) === 0) {
      // 0x7f000042
      if ((code | 32) === 0x78 && digits === 1) flags |= NUMERIC;
      hex = digits = 0;
    } else {
      if (++hex === 32) flags |= DIRECT;
      if ((of & DIGIT) === 0) digits = 0;
      else if (++digits === 8) flags |= NUMERIC;
    }
    before = code;
  }
  return flags;
}

/** `classify`, charged to the budget; 0, and `truncated` is set, when the budget is used up. */
export function classifyWithin(search: Search, text: string): number {
  search.work.left -= TEXT_PRICE + text.length;
  if (search.work.left < 0) search.truncated = true;
  return search.truncated ? 0 : classify(text);
}

/** How a text is meant, where that decides what in it is an address. */
export type Meaning =
  /** Only what looks like one. */
  | 'text'
  /** A host, or options that name hosts: `addr=3325256770` is one too. */
  | 'host'
  /** A command: behind `curl` or `ping` a bare number is one too. */
  | 'command'
  /** A name: those of fields and of containers are too long to be taken for base64. */
  | 'key';

/**
 * Looks for indicators in a text and in all that shells and decoders may make of it.
 * INVARIANT: what cannot be decoded to its end sets `truncated`.
 */
export function searchText(
  search: Search,
  text: string,
  place: Place,
  meaning: Meaning = 'text',
  variable: Variable = search.variable,
): void {
  if (text.length < MIN_LENGTH) return;
  const flags = classifyWithin(search, text);
  if (flags !== 0) searchClassified(search, text, flags, place, meaning, variable);
}

/** The same for a text whose flags are known. */
export function searchClassified(
  search: Search,
  text: string,
  flags: number,
  place: Place,
  meaning: Meaning,
  variable: Variable,
): void {
  if (search.truncated) return;
  scanAs(search, text, flags, place, meaning);
  if ((flags & HIDDEN) === 0 && ((flags & CODED) === 0 || meaning === 'key' || DIGEST.test(text))) return;
  if (text.length > MAX_WORD_LENGTH) {
    searchData(search, text, place);
    return;
  }
  search.decodable -= text.length;
  if (search.decodable < 0 || search.work.left < 0) {
    search.truncated = true;
    return;
  }
  search.budget.left += DECODED_GROWTH * text.length;
  const { variants, truncated } = decodeVariants(text, variable, search.budget);
  for (const variant of variants) {
    if (variant !== text) scanAs(search, variant, classifyWithin(search, variant), place, meaning);
  }
  if (truncated) search.truncated = true;
}

/** Contents of configs and the like: base64 as a whole, or nothing that is decoded. */
function searchData(search: Search, text: string, place: Place): void {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text) || text.length % 4 !== 0) return;
  scan(search, atob(text), place);
}

function scanAs(search: Search, text: string, flags: number, place: Place, meaning: Meaning): void {
  if ((flags & (DIRECT | NUMERIC)) !== 0) scan(search, text, place);
  if ((flags & NUMERIC) !== 0) searchNumbers(search, text, place, meaning);
}

/** Looks for indicators in a text as it stands. */
export function scan(search: Search, text: string, place: Place): void {
  const { matches, truncated } = scanText(text, search.index, '', search.work);
  for (const match of matches) addMatch(search, match, place);
  if (truncated) search.truncated = true;
  // `.nip.io` and the like are rare, and so are names with so many digits.
  if (text.length > 14 && EMBEDS.test(text)) searchEmbedded(search, text, place);
}

const EMBEDS = /[0-9a-f]\.(?:[nx]ip|sslip|traefik)\./i;
const EMBEDDED =
  /(?:^|[^0-9a-z])([0-9]{1,3}(?:[.-][0-9]{1,3}){3}|[0-9a-f]{8})\.(?:(?:nip|sslip|xip)\.io|traefik\.me)(?![a-z0-9])/gi;

/** DNS services that answer with the address that is written in the name: `198.51.100.7.nip.io`, `c6336407.nip.io`. */
function searchEmbedded(search: Search, text: string, place: Place): void {
  for (const [, address = ''] of text.matchAll(EMBEDDED)) {
    const host = /^[0-9a-f]{8}$/i.test(address) ? `0x${address}` : address.replaceAll('-', '.');
    const match = scanHost(host, search.index, '');
    if (match !== undefined) addMatch(search, { ...match, value: address }, place);
  }
}

function addMatch(search: Search, match: IndicatorMatch, place: Place): void {
  const where = typeof place === 'string' ? place : search.prefix + place.map(escapeStep).join('');
  const key = `${match.hit.indicator} ${where}`;
  if (search.seen.has(key)) return;
  search.seen.add(key);
  if (search.matches.length < MAX_MATCHES) search.matches.push({ ...match, where });
  else search.truncated = true;
}

function escapeStep(step: string | number): string {
  return `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

const NUMBER = '(0[xX][0-9a-fA-F]{1,8}|0[0-7]{8,11}|[0-9]{8,10})';
const BEFORE = '(?<![0-9A-Za-z._%-])';
/** The registry of an image, or `host:port`. */
const WITH_PORT = new RegExp(`${BEFORE}${NUMBER}:[0-9]{1,5}(?![0-9A-Za-z.:-])`, 'g');
const STANDING_ALONE = new RegExp(`${BEFORE}${NUMBER}(?![0-9A-Za-z._-])`, 'g');

/** Programs that connect to what their arguments name, including those that fetch. */
const CONNECTING_PROGRAMS = new Set([
  ...FETCHERS,
  ...['ping', 'ping6', 'fping', 'hping3', 'dig', 'nslookup', 'host', 'drill', 'getent', 'traceroute', 'mtr'],
  ...[
    'nmap',
    'masscan',
    'git',
    'mount',
    'route',
    'ip',
    'iptables',
    'openssl',
    'xmrig',
    'autossh',
    'proxychains',
  ],
]);

/**
 * IPv4 addresses written as one number, where they can only be hosts: numbers are everywhere. Those behind `//` are
 * part of a URL, and found there.
 */
function searchNumbers(search: Search, text: string, place: Place, meaning: Meaning): void {
  const connects =
    meaning === 'host' ||
    (meaning === 'command' && text.split(/[\s;|&()/"'`[\],]+/).some((word) => CONNECTING_PROGRAMS.has(word)));
  for (const [, host = ''] of text.matchAll(connects ? STANDING_ALONE : WITH_PORT)) {
    const match = scanHost(host, search.index, '');
    if (match !== undefined) addMatch(search, match, place);
  }
}

import { readExceptions } from '../exceptions.js';
import type { Indicator } from '../indicator.js';
import { admit } from '../reserved.js';
import { fail, type Run } from './run.js';
import type { Fit, Format } from './format.js';
import { isHtml, textOfHtml } from './html.js';
import { MARK, markFanged } from './refang.js';
import type { Sample } from './sample.js';
import { indicator, readValue, type Value } from './values.js';

/** Prose: a report as vendors publish it, as plain text, Markdown or HTML. */
export const REPORT_FORMAT = { report: { detect: fits, parse: readReport } } satisfies Record<string, Format>;

const MAX_WORD = 2048;
/** In UTF-16 units: no report is that long, and it is read as a whole. */
const MAX_REPORT = 32 * 1024 * 1024;

/** Prose has lines of several words; and only one that carries defanged values is taken for a report unasked: any page may name an address. */
function fits({ json, head, data }: Sample): Fit {
  if (json || !data.some((line) => /\S\s+\S+\s+\S/.test(line))) return 0;
  for (const word of wordsOf(head)) if (word.marked && valuesOf(word).length > 0) return 1;
  return 0;
}

/**
 * INVARIANT: from prose, only what was defanged becomes a domain or URL, besides addresses and hashes: `install.sh`,
 * `setup.py` and the links of the report itself do not.
 */
function* readReport(text: string, run: Run): Generator<Indicator> {
  if (text.length > MAX_REPORT)
    fail(run, '', `the text has ${text.length} characters; a report has at most ${MAX_REPORT}`);
  const seen = new Set<string>();
  for (const word of wordsOf(text)) {
    for (const value of valuesOf(word)) {
      const key = `${value.type} ${value.value} ${value.port}`;
      if (seen.has(key)) continue;
      if (seen.add(key).size > MAX_VALUES) {
        fail(run, '', `there are over ${MAX_VALUES} indicators, which no report has`);
        return;
      }
      yield indicator(value, {});
    }
  }
}

const MAX_VALUES = 1_000_000;

interface Word {
  readonly text: string;
  /** It was defanged. */
  readonly marked: boolean;
  /** A number follows a word like "version". */
  readonly version: boolean;
}

/** Whether an address or hash may stand here that was not defanged. Most words of a report are done with by this. */
function maybeBare(word: string): boolean {
  return /\d/.test(word) && (/[.:]/.test(word) || /[\da-f]{32}/i.test(word));
}

/** What stands between blanks, quotes, angle brackets and table lines; brackets and full stops around it left out. */
function* wordsOf(text: string): Generator<Word> {
  if (text.length > MAX_REPORT) return;
  const plain = isHtml(text) ? textOfHtml(text) : text;
  // Markdown puts a backslash before brackets and dots that it is not to read.
  const marked = markFanged(plain.replace(/\\([[\](){}._:-])/g, '$1'));
  let version = false;
  for (const [piece] of marked.matchAll(/[^\s<>"'`|\u201c\u201d\u2018\u2019\u00ab\u00bb]+/g)) {
    if (piece.length <= MAX_WORD && (piece.includes(MARK) || maybeBare(piece))) {
      for (const part of partsOf(piece)) {
        yield { text: part.replaceAll(MARK, ''), marked: part.includes(MARK), version };
      }
    }
    version = /^(?:version|versions|release|ver\.?|v)$/i.test(piece);
  }
}

/** The words of a piece: `[text](address)` of Markdown and lists without blanks after their commas hold several. */
function partsOf(piece: string): string[] {
  const links = piece.split('](');
  return links
    .flatMap((link) => (link.includes('://') ? [link] : link.split(/[,;=]/).map(withoutLabel)))
    .map(bare);
}

/** `C2:198.51.100.7` without its label; an IPv6 address has none. */
function withoutLabel(word: string): string {
  return /^[\da-f:]+$/i.test(word) ? word : word.replace(/^[a-z][\w-]{0,31}:/i, '');
}

/** Without what punctuation puts around it. Square brackets around an IPv6 address stay. */
function bare(word: string): string {
  if (/^\ue000?\[[\da-f:.\ue000]+\](?:\ue000?:\d+)?$/i.test(word)) return word;
  let from = 0;
  let to = word.length;
  while (from < to && '([{*_~#!'.includes(word.charAt(from))) from++;
  while (to > from && ')]}*_~.,;:!?'.includes(word.charAt(to - 1))) to--;
  return word.slice(from, to);
}

const HASH = /^(?:(?:md5|sha-?1|sha-?256|sha-?512):)?[\da-f]{32,128}$/i;
const ADDRESS = /^(?:\d{1,3}(?:\.\d{1,3}){3}|\[[\da-f:.]+\]|[\da-f]*:[\da-f:.]+)(?:\/\d{1,3}|:\d{1,5})?$/i;
/** As it stands in prose, IPv6 has to look like a public address: `12:30::` and `add::bad` do not. */
const BARE_ADDRESS = /^(?:\d{1,3}\.|\[?[23][\da-f]{3}:)/i;
const MAX_ADDRESS = 64;
const NONE = readExceptions([]).exceptions;
const URL_HOST = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i;

function valuesOf({ text, marked, version }: Word): readonly Value[] {
  if (text.length < 4) return [];
  if (HASH.test(text)) return readValue('hash', text);
  const whole = addressOf(text);
  if (whole.length > 0)
    return marked ? whole : version || !BARE_ADDRESS.test(text) ? [] : whole.filter(isPublic);
  const host = URL_HOST.exec(text)?.[1];
  const address = addressOf(host ?? text.split('/', 1)[0] ?? '');
  if (!marked) return BARE_ADDRESS.test(host ?? text) ? address.filter(isPublic) : [];
  // A mail address says nothing about the domain of its provider.
  if (host === undefined && text.includes('@')) return [];
  // A server without a name serves nothing but the attacker's files: the address counts as well as the URL.
  if (host !== undefined || text.includes('/')) return [...readValue('url', text), ...address];
  return readValue('any', text);
}

/** Reports also mention addresses of the victim's own network. */
function isPublic(value: Value): boolean {
  return admit(value, { allow: NONE, neverBlock: NONE, allowReserved: false }) === undefined;
}

function addressOf(text: string): readonly Value[] {
  return text.length <= MAX_ADDRESS && ADDRESS.test(text) ? readValue('address', text) : [];
}

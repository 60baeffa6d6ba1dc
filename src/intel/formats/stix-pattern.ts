import { quote } from './run.js';
import { portNumber, readValue, type Value } from './values.js';

/**
 * Reads STIX patterns (STIX 2.1, section 9) for what they name outright. A pattern may need several things at once, or
 * name what must not be there; to block one of them alone would be wrong, so only what suffices on its own is taken:
 *
 * - `[ipv4-addr:value = 'x']`, `… IN ('x', 'y')`, `… ISSUBSET 'x/24'`, of addresses, domains, URLs and file hashes;
 * - both sides of OR; of AND a side whose other side only states a port, a protocol or a type;
 * - nothing from NOT, !=, LIKE, MATCHES, <, >, FOLLOWEDBY, REPEATS, START … STOP, nor from what else may be observed.
 *
 * @returns the values, with the port that goes with them; or a text that says what is wrong with the pattern.
 */
export function readStixPattern(pattern: string): readonly Value[] | string {
  if (pattern.length > MAX_PATTERN) return `the pattern has over ${MAX_PATTERN} characters`;
  const tokens = tokenize(pattern);
  if (typeof tokens === 'string') return tokens;
  const reader: Reader = { tokens, at: 0, depth: 0, problem: undefined };
  const meaning = observations(reader);
  if (reader.at < tokens.length) problem(reader, 'the end');
  return reader.problem ?? meaning.values;
}

const MAX_PATTERN = 256 * 1024;
const MAX_DEPTH = 64;

/**
 * What an expression means: values each of which makes it true; or, without values, whether it is only a port or a type
 * beside something else (`side`).
 */
interface Meaning {
  readonly values: readonly Value[];
  readonly side: boolean;
  readonly port: number;
}

const NOTHING: Meaning = { values: [], side: false, port: 0 };

interface Token {
  readonly kind: 'word' | 'string' | 'sign';
  readonly text: string;
  /** Position in the pattern. */
  readonly at: number;
}

interface Reader {
  readonly tokens: readonly Token[];
  at: number;
  depth: number;
  problem: string | undefined;
}

/** A string, a word (keyword, number, part of a path, timestamp prefix), a comparison, or a bracket. Each step moves on. */
const TOKEN =
  /\s+|'[^'\\]*(?:\\['\\][^'\\]*)*'|"[^"\\]*(?:\\["\\][^"\\]*)*"|[A-Za-z0-9_][A-Za-z0-9_.+-]*|-\d[\d.]*|==|!=|<>|<=|>=|[=<>()[\]:,.*]/y;

function tokenize(pattern: string): Token[] | string {
  const tokens: Token[] = [];
  for (let at = 0; at < pattern.length; at = TOKEN.lastIndex) {
    TOKEN.lastIndex = at;
    const [text] = TOKEN.exec(pattern) ?? [];
    if (text === undefined) return `character ${at + 1} of the pattern is not part of any word or string`;
    const first = text.charAt(0);
    if (/\s/.test(first)) continue;
    if (first === "'" || first === '"') {
      tokens.push({ kind: 'string', text: text.slice(1, -1).replace(/\\(.)/g, '$1'), at });
    } else {
      tokens.push({ kind: /[A-Za-z0-9_-]/.test(first) ? 'word' : 'sign', text, at });
    }
  }
  return tokens;
}

function problem(reader: Reader, wanted: string): Meaning {
  const token = reader.tokens[reader.at];
  const place = token === undefined ? 'its end' : `character ${token.at + 1}`;
  reader.problem ??= `the pattern should have ${wanted} at ${place}`;
  reader.at = reader.tokens.length;
  return NOTHING;
}

/** Takes a bracket, a comparison or a keyword if it comes next. */
function take(reader: Reader, text: string): boolean {
  const token = reader.tokens[reader.at];
  if (token === undefined || token.kind === 'string' || token.text !== text) return false;
  reader.at++;
  return true;
}

function need(reader: Reader, text: string): void {
  if (!take(reader, text)) problem(reader, `"${text}"`);
}

/** observation FOLLOWEDBY observation; binds less than OR, and that less than AND. */
function observations(reader: Reader): Meaning {
  return chain(
    reader,
    'FOLLOWEDBY',
    () => NOTHING,
    () => chain(reader, 'OR', either, () => chain(reader, 'AND', both, () => observation(reader))),
  );
}

function comparisons(reader: Reader): Meaning {
  return chain(reader, 'OR', either, () => chain(reader, 'AND', both, () => comparison(reader)));
}

/** Operands with one operator between them. */
function chain(
  reader: Reader,
  operator: string,
  join: (parts: readonly Meaning[]) => Meaning,
  operand: () => Meaning,
): Meaning {
  const parts = [operand()];
  while (take(reader, operator)) parts.push(operand());
  return parts.length === 1 ? parts[0]! : join(parts);
}

function either(parts: readonly Meaning[]): Meaning {
  return { values: parts.flatMap(({ values }) => values), side: parts.every(({ side }) => side), port: 0 };
}

function both(parts: readonly Meaning[]): Meaning {
  const whole = parts.filter(({ side }) => !side);
  const port = parts.find((part) => part.side && part.port !== 0)?.port ?? 0;
  if (whole.length === 0) return { values: [], side: true, port };
  if (whole.length > 1) return NOTHING;
  const values = whole[0]!.values.map((value) => ({ ...value, port: value.port === 0 ? port : value.port }));
  return { values, side: false, port: 0 };
}

/** `[…]` or `(…)`, with qualifiers. */
function observation(reader: Reader): Meaning {
  let meaning: Meaning;
  if (take(reader, '[')) {
    meaning = comparisons(reader);
    need(reader, ']');
  } else {
    meaning = grouped(reader, observations) ?? problem(reader, '"[" or "("');
  }
  for (;;) {
    if (take(reader, 'WITHIN')) {
      // A time within which it all happens: what suffices alone does so still.
      word(reader, 'a number');
      need(reader, 'SECONDS');
    } else if (take(reader, 'REPEATS')) {
      word(reader, 'a number');
      need(reader, 'TIMES');
      meaning = NOTHING;
    } else if (take(reader, 'START')) {
      timestamp(reader);
      need(reader, 'STOP');
      timestamp(reader);
      meaning = NOTHING;
    } else {
      return meaning;
    }
  }
}

/** `(…)`; undefined where no bracket opens. Depth is bounded: the only recursion there is. */
function grouped(reader: Reader, inner: (reader: Reader) => Meaning): Meaning | undefined {
  if (!take(reader, '(')) return undefined;
  if (++reader.depth > MAX_DEPTH)
    return problem(reader, `no more than ${MAX_DEPTH} brackets inside each other`);
  const meaning = inner(reader);
  need(reader, ')');
  reader.depth--;
  return meaning;
}

const COMPARISONS = [
  '=',
  '==',
  '!=',
  '<>',
  '<',
  '>',
  '<=',
  '>=',
  'IN',
  'LIKE',
  'MATCHES',
  'ISSUBSET',
  'ISSUPERSET',
];
/** Comparisons that name values outright. */
const NAMING: ReadonlySet<string> = new Set(['=', '==', 'IN', 'ISSUBSET']);

function comparison(reader: Reader): Meaning {
  const group = grouped(reader, comparisons);
  if (group !== undefined) return group;
  if (take(reader, 'EXISTS')) {
    path(reader);
    return NOTHING;
  }
  const subject = path(reader);
  const negated = take(reader, 'NOT');
  const operator = COMPARISONS.find((comparison) => take(reader, comparison));
  if (operator === undefined) return problem(reader, 'a comparison');
  const operands = operator === 'IN' ? list(reader) : [literal(reader)];
  return negated || !NAMING.has(operator) ? NOTHING : meaningOf(reader, subject, operator, operands);
}

/** `type:step.step[*].'step'`, as one text without quotes, the type in front. */
function path(reader: Reader): string {
  let text = word(reader, 'an object type');
  need(reader, ':');
  text += `:${step(reader)}`;
  for (;;) {
    if (take(reader, '.')) {
      text += `.${step(reader)}`;
    } else if (take(reader, '[')) {
      if (!take(reader, '*')) word(reader, 'an index');
      need(reader, ']');
      text += '[]';
    } else {
      return text.toLowerCase();
    }
  }
}

/** One step of a path, or several that the tokenizer left in one word: `hashes.MD5`. */
function step(reader: Reader): string {
  const token = reader.tokens[reader.at];
  if (token === undefined || token.kind === 'sign') {
    problem(reader, 'a property');
    return '';
  }
  reader.at++;
  // `hashes.` is one word before a step in quotes: `hashes.'SHA-256'`.
  return token.kind === 'word' && token.text.endsWith('.') ? token.text + step(reader) : token.text;
}

function word(reader: Reader, wanted: string): string {
  const token = reader.tokens[reader.at];
  if (token?.kind !== 'word') {
    problem(reader, wanted);
    return '';
  }
  reader.at++;
  return token.text;
}

/** A constant: a string, a number, `true`, or `t'…'`, `h'…'`, `b'…'`. */
function literal(reader: Reader): string {
  const token = reader.tokens[reader.at];
  if (token === undefined || token.kind === 'sign') {
    problem(reader, 'a constant');
    return '';
  }
  reader.at++;
  const tagged =
    token.kind === 'word' && /^[thb]$/.test(token.text) && reader.tokens[reader.at]?.kind === 'string';
  if (tagged) reader.at++;
  return tagged ? '' : token.text;
}

function timestamp(reader: Reader): void {
  take(reader, 't');
  if (reader.tokens[reader.at]?.kind === 'string') reader.at++;
  else problem(reader, 'a timestamp');
}

function list(reader: Reader): string[] {
  need(reader, '(');
  const texts = [literal(reader)];
  while (take(reader, ',')) texts.push(literal(reader));
  need(reader, ')');
  return texts;
}

function meaningOf(reader: Reader, subject: string, operator: string, operands: readonly string[]): Meaning {
  if (SIDES.test(subject)) {
    const port =
      subject === 'network-traffic:dst_port' && operands.length === 1 ? portNumber(operands[0] ?? '') : 0;
    return { values: [], side: true, port };
  }
  const kind = SUBJECTS.find(([pattern]) => pattern.test(subject))?.[1];
  if (kind === undefined || (operator === 'ISSUBSET' && kind !== 'address' && kind !== 'any')) return NOTHING;
  const values = operands.map((text) => readValue(kind, text));
  const unread = values.findIndex((list) => list.length === 0);
  if (unread >= 0) reader.problem ??= `${quote(operands[unread] ?? '')} is no value for ${subject}`;
  return { values: values.flat(), side: false, port: 0 };
}

/** What only narrows down the traffic to a value that stands beside it. */
const SIDES = /^network-traffic:(?:(?:src|dst)_port|protocols\[\]|(?:src|dst)_ref\.type|is_active)$/;

const SUBJECTS = [
  [/^ipv[46]-addr:value$/, 'address'],
  [/^domain-name:value$/, 'domain'],
  [/^url:value$/, 'url'],
  [/^file:hashes\.(?:md5|sha-?1|sha-?256|sha-?512)$/, 'hash'],
  [/^network-traffic:dst_ref\.value$/, 'any'],
] as const;

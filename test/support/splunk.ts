/*
 * What tests need of Splunk: its configuration files, timestamps by format, names of JSON fields, and the searches that stand before
 * the first `|`. Strict: what is not known throws.
 */

type Fields = Readonly<Record<string, unknown>>;

/** Stanzas of a .conf file. Every line is a comment, a stanza, or a key; no key comes twice. @throws Error */
export function readConf(text: string): Map<string, Readonly<Record<string, string>>> {
  const stanzas = new Map<string, Record<string, string>>();
  let current: Record<string, string> | undefined;
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    // Splunk drops blanks at the end of a value, and reads a backslash there as "goes on".
    if (/[\s\\]$/.test(line)) throw new Error(`blank or backslash at the end: ${line}`);
    const [, name] = /^\[(.+)\]$/.exec(line) ?? [];
    if (name !== undefined) {
      if (stanzas.has(name)) throw new Error(`stanza twice: ${name}`);
      stanzas.set(name, (current = {}));
      continue;
    }
    const [, key, value] = /^([A-Za-z_][\w.-]*) = (.+)$/.exec(line) ?? [];
    if (key === undefined || current === undefined) throw new Error(`no key: ${line}`);
    if (Object.hasOwn(current, key)) throw new Error(`key twice: ${key}`);
    current[key] = value!;
  }
  return stanzas;
}

const DIRECTIVES: Readonly<Record<string, string>> = {
  '%Y': '(?<Y>\\d{4})',
  '%m': '(?<m>\\d\\d)',
  '%d': '(?<d>\\d\\d)',
  '%H': '(?<H>\\d\\d)',
  '%M': '(?<M>\\d\\d)',
  '%S': '(?<S>\\d\\d)',
  '%3N': '(?<N>\\d{3})',
};

/** Milliseconds since 1970 of a text in that format, which the text has to be as a whole; in UTC. @throws Error */
export function strptime(text: string, format: string): number {
  const pattern = format.replace(/%\d?[A-Za-z]|[.+*?()[\]]/g, (found) => {
    if (!found.startsWith('%')) return `\\${found}`;
    const directive = DIRECTIVES[found];
    if (directive === undefined) throw new Error(`unknown ${found}`);
    return directive;
  });
  const { groups } = new RegExp(`^${pattern}$`).exec(text) ?? {};
  if (groups === undefined) throw new Error(`${text} is not in the format ${format}`);
  const part = (name: string): number => Number(groups[name]);
  return Date.UTC(part('Y'), part('m') - 1, part('d'), part('H'), part('M'), part('S'), part('N'));
}

/** Names that KV_MODE=json gives: `client.address`, `hazards{}`, `indicators{}.feed`. */
export function fieldNames(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) return [`${path}{}`, ...value.flatMap((item) => fieldNames(item, `${path}{}`))];
  if (typeof value !== 'object' || value === null) return path === '' ? [] : [path];
  return Object.entries(value).flatMap(([name, inner]) =>
    fieldNames(inner, path === '' ? name : `${path}.${name}`),
  );
}

function valuesOf(value: unknown, names: readonly string[]): unknown[] {
  const [name = '', ...rest] = names;
  const isList = name.endsWith('{}');
  const inner = (value as Fields | undefined)?.[isList ? name.slice(0, -2) : name];
  if (isList !== Array.isArray(inner)) return [];
  const items = isList ? (inner as unknown[]) : [inner];
  if (rest.length > 0) {
    return items.flatMap((item) => (typeof item === 'object' && item !== null ? valuesOf(item, rest) : []));
  }
  return items.filter((item) => item !== undefined && typeof item !== 'object');
}

export interface Search {
  readonly fields: readonly string[];
  readonly matches: (record: Fields) => boolean;
}

const WORD = /\s*(\(|\)|(?:"[^"]*"|[\w{}.]+)(?:!=|=|>)(?:"[^"]*"|[^\s()]+)|OR\b|NOT\b)/y;
const bare = (word: string): string => word.replace(/^"(.*)"$/, '$1');

/** Terms side by side all have to hold; OR binds more tightly than that, as in Splunk. @throws Error */
export function readSearch(text: string): Search {
  const words: string[] = [];
  WORD.lastIndex = 0;
  while (WORD.lastIndex < text.length) {
    const found = WORD.exec(text);
    if (found === null) throw new Error(`search: ${text}`);
    words.push(found[1]!);
  }
  let at = 0;
  const fields: string[] = [];
  type Test = (record: Fields) => boolean;
  const all = (): Test => {
    const parts: Test[] = [];
    while (at < words.length && words[at] !== ')') parts.push(any());
    if (parts.length === 0) throw new Error(`search: nothing in ${text}`);
    return (record) => parts.every((part) => part(record));
  };
  const any = (): Test => {
    const parts = [one()];
    while (words[at] === 'OR') {
      at += 1;
      parts.push(one());
    }
    return (record) => parts.some((part) => part(record));
  };
  const one = (): Test => {
    const word = words[at++] ?? '';
    if (word === '(') {
      const inner = all();
      if (words[at++] !== ')') throw new Error(`search: no bracket in ${text}`);
      return inner;
    }
    if (word === 'NOT') {
      const inner = one();
      return (record) => !inner(record);
    }
    return term(word, fields);
  };
  const matches = all();
  if (at !== words.length) throw new Error(`search: ${words[at]} in ${text}`);
  return { fields, matches };
}

/** `!=` holds only where there is the field; texts are compared without regard to case, `*` is anything. */
function term(word: string, fields: string[]): (record: Fields) => boolean {
  const [, name = '', operator = '', value = ''] = /^("[^"]*"|[\w{}.]+)(!=|=|>)(.*)$/s.exec(word) ?? [];
  const field = bare(name);
  const wanted = bare(value);
  if (field === '') throw new Error(`search: ${word}`);
  fields.push(field);
  if (field === 'sourcetype') return () => wanted === 'breakwater:breakwater' && operator === '=';
  const path = field.split('.');
  if (operator === '>') return (record) => valuesOf(record, path).some((one) => Number(one) > Number(wanted));
  const glob = wanted.replace(/[\\^$.+?()[\]{}|]/g, '\\$&').replaceAll('*', '.*');
  const pattern = new RegExp(`^${glob}$`, 'is');
  const holds = (one: unknown): boolean => pattern.test(String(one));
  return operator === '='
    ? (record) => valuesOf(record, path).some(holds)
    : (record) => valuesOf(record, path).some((one) => !holds(one));
}

import { parse } from 'yaml';

/*
 * Sigma rules, as far as the shipped ones go, and strictly: an unknown key, modifier or word in a condition throws. Texts are
 * compared without regard to case, `*` and `?` are wildcards (Sigma specification 2.0); `re` and `gt` are not affected by that.
 */

export type Fields = Readonly<Record<string, unknown>>;

export interface SigmaRule {
  readonly title: string;
  readonly id: string;
  readonly status: string;
  readonly description: string;
  readonly references: readonly string[];
  readonly author: string;
  readonly date: string;
  readonly tags: readonly string[];
  readonly logsource: Readonly<Record<string, string>>;
  readonly fields: readonly string[];
  readonly falsepositives: readonly string[];
  readonly level: string;
  /** Names of fields that the detection looks at. */
  readonly looksAt: readonly string[];
  readonly matches: (record: Fields) => boolean;
}

const KEYS = [
  ...['title', 'id', 'status', 'description', 'references', 'author', 'date', 'tags', 'logsource'],
  ...['detection', 'fields', 'falsepositives', 'level'],
];

type Test = (record: Fields) => boolean;

/** @throws Error for what is no rule, or one with something that is not understood. */
export function readSigma(text: string): SigmaRule {
  const rule = parse(text, { strict: true, uniqueKeys: true }) as Record<string, unknown>;
  for (const key of Object.keys(rule)) if (!KEYS.includes(key)) throw new Error(`unknown key ${key}`);
  for (const key of KEYS) if (rule[key] === undefined) throw new Error(`no ${key}`);
  const { condition, ...searches } = rule['detection'] as Record<string, unknown>;
  if (typeof condition !== 'string') throw new Error('no condition');
  const looksAt: string[] = [];
  const tests = new Map(
    Object.entries(searches).map(([name, search]) => [name, readSearch(search as Fields, looksAt)]),
  );
  const used = new Set<string>();
  const matches = readCondition(condition, tests, used);
  for (const name of tests.keys()) if (!used.has(name)) throw new Error(`${name} is in no condition`);
  return { ...(rule as unknown as SigmaRule), looksAt, matches };
}

function readSearch(search: Fields, looksAt: string[]): Test {
  if (typeof search !== 'object' || search === null || Array.isArray(search)) throw new Error('no map');
  const tests = Object.entries(search).map(([key, expected]): Test => {
    const [field = '', ...modifiers] = key.split('|');
    if (modifiers.length > 1) throw new Error(`modifiers ${modifiers.join('|')}`);
    looksAt.push(field);
    const values = [expected].flat();
    if (values.length === 0) throw new Error(`${key} has no values`);
    const compares = values.map((value) => comparison(value, modifiers[0] ?? ''));
    return (record) =>
      valuesAt(record, field.split('.')).some((found) => compares.some((compare) => compare(found)));
  });
  if (tests.length === 0) throw new Error('an empty map');
  return (record) => tests.every((test) => test(record));
}

/** Lists on the way: any of their items. */
function valuesAt(value: unknown, [name, ...rest]: readonly string[]): unknown[] {
  if (Array.isArray(value)) {
    return value.flatMap((item) =>
      name === undefined ? valuesAt(item, []) : valuesAt(item, [name, ...rest]),
    );
  }
  if (name === undefined) return value === undefined ? [] : [value];
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? valuesAt((value as Fields)[name], rest)
    : [];
}

function comparison(expected: unknown, modifier: string): (found: unknown) => boolean {
  if (modifier === 'gt') {
    if (typeof expected !== 'number') throw new Error('gt compares numbers');
    return (found) => typeof found === 'number' && found > expected;
  }
  if (typeof expected === 'number' || typeof expected === 'boolean') {
    if (modifier !== '') throw new Error(`${modifier} compares texts`);
    return (found) => found === expected;
  }
  if (typeof expected !== 'string') throw new Error('a value is a text, a number or a boolean');
  if (modifier === 're') {
    const pattern = new RegExp(expected, 's');
    return (found) => typeof found === 'string' && pattern.test(found);
  }
  const glob = expected
    .replace(/[\\^$.+()[\]{}|]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  const around = { '': ['^', '$'], contains: ['', ''], startswith: ['^', ''], endswith: ['', '$'] }[modifier];
  if (around === undefined) throw new Error(`unknown modifier ${modifier}`);
  const pattern = new RegExp(`${around[0]}${glob}${around[1]}`, 'is');
  return (found) => typeof found === 'string' && pattern.test(found);
}

/** `or` of `and` of `not`, brackets, `1 of NAME*`, `all of NAME*`, `them`. */
function readCondition(text: string, tests: ReadonlyMap<string, Test>, used: Set<string>): Test {
  const words = text.match(/[()]|[^\s()]+/g) ?? [];
  let at = 0;
  const fail = (): never => {
    throw new Error(`condition: ${words[at] ?? 'its end'} in ${text}`);
  };
  const or = (): Test => {
    const parts = [and()];
    while (words[at] === 'or') {
      at += 1;
      parts.push(and());
    }
    return (record) => parts.some((part) => part(record));
  };
  const and = (): Test => {
    const parts = [one()];
    while (words[at] === 'and') {
      at += 1;
      parts.push(one());
    }
    return (record) => parts.every((part) => part(record));
  };
  const one = (): Test => {
    const word = words[at] ?? fail();
    at += 1;
    if (word === 'not') {
      const inner = one();
      return (record) => !inner(record);
    }
    if (word === '(') {
      const inner = or();
      if (words[at] !== ')') fail();
      at += 1;
      return inner;
    }
    if ((word === '1' || word === 'all') && words[at] === 'of') {
      const name = words[at + 1] ?? fail();
      at += 2;
      const pattern = new RegExp(`^${name === 'them' ? '.*' : name.replaceAll('*', '.*')}$`);
      const named = [...tests].filter(([key]) => pattern.test(key));
      if (named.length === 0) fail();
      for (const [key] of named) used.add(key);
      return word === '1'
        ? (record) => named.some(([, test]) => test(record))
        : (record) => named.every(([, test]) => test(record));
    }
    const test = tests.get(word);
    if (test === undefined) {
      at -= 1;
      return fail();
    }
    used.add(word);
    return test;
  };
  const whole = or();
  if (at !== words.length) fail();
  return whole;
}

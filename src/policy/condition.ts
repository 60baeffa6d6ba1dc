import { isObject } from '../base/json.js';
import type { Work } from '../base/work.js';
import type { FactValue } from '../hazards/inspection.js';
import { compileGlob, matchesAnything, MAX_PATTERN, MAX_SUBJECT } from '../base/glob.js';
import { didYouMean } from '../base/nearest.js';
import { describeValue } from './problems.js';
import type { FactWord } from './vocabulary.js';

/**
 * Does the fact's value satisfy the condition? `undefined`: unknown (wrong type, over-long value). `work` pays for it; without
 * any left, no answer counts.
 */
export type Test = (value: FactValue, work: Work) => boolean | undefined;

/** Reports a problem at a place below the condition (`''`, `/each/2`). */
export type Report = (below: string, message: string) => void;

/** Any of several globs; undefined when the subject is too long to be matched. */
type Choice = (subject: string, work: Work) => boolean | undefined;

/** The price of a value that is compared with literals. */
const VALUE_PRICE = 16;

function choice(patterns: readonly string[]): Choice {
  if (patterns.some(matchesAnything)) return () => true;
  const literals = new Set(patterns.filter((pattern) => !/[*?]/.test(pattern)));
  const globs = patterns.filter((pattern) => !literals.has(pattern)).map(compileGlob);
  const only = patterns[0];
  if (literals.size === 1 && globs.length === 0 && only !== undefined) {
    return (subject) => (subject.length > MAX_SUBJECT ? undefined : subject === only);
  }
  return (subject, work) => {
    work.left -= VALUE_PRICE;
    if (subject.length > MAX_SUBJECT) return undefined;
    if (literals.has(subject)) return true;
    for (const glob of globs) if (glob(subject, work)) return true;
    return false;
  };
}

function readGlobs(raw: unknown, below: string, report: Report): Choice | undefined {
  if (!Array.isArray(raw) || raw.length === 0) {
    report(below, `found ${describeValue(raw)}; expected an array of at least one pattern.`);
    return undefined;
  }
  const good: string[] = [];
  raw.forEach((item: unknown, index) => {
    if (typeof item !== 'string') {
      report(`${below}/${index}`, `found ${describeValue(item)}; expected a string (a pattern).`);
    } else if (item.length > MAX_PATTERN) {
      report(
        `${below}/${index}`,
        `found a pattern of ${item.length} characters; at most ${MAX_PATTERN} are allowed.`,
      );
    } else good.push(item);
  });
  return choice(good);
}

function readNumbers(raw: unknown, below: string, report: Report): number[] | undefined {
  if (!Array.isArray(raw) || raw.length === 0) {
    report(below, `found ${describeValue(raw)}; expected an array of at least one number.`);
    return undefined;
  }
  raw.forEach((item: unknown, index) => {
    if (!isNumber(item)) report(`${below}/${index}`, `found ${describeValue(item)}; expected a number.`);
  });
  return raw.filter(isNumber).map(Number);
}

function isNumber(value: unknown): value is number | bigint {
  return typeof value === 'number' || typeof value === 'bigint';
}

/** The object's entries if its keys are all among `keys`; else a report and undefined. */
function readKeys(raw: unknown, keys: readonly string[], report: Report): Map<string, unknown> | undefined {
  const entries = Object.entries(raw as Record<string, unknown>);
  const valid = keys.map((key) => `"${key}"`).join(', ');
  if (entries.length === 0) report('', `found an empty object; give at least one of ${valid}.`);
  for (const [key] of entries) {
    if (!keys.includes(key))
      report(`/${key}`, `unknown key "${key}".${didYouMean(key, keys)} Valid keys: ${valid}.`);
  }
  return entries.length > 0 && entries.every(([key]) => keys.includes(key)) ? new Map(entries) : undefined;
}

/** Both must be true; false wins over unknown. */
function and(a: boolean | undefined, b: boolean | undefined): boolean | undefined {
  return a === false || b === false ? false : a === undefined || b === undefined ? undefined : true;
}

function negate(value: boolean | undefined): boolean | undefined {
  return value === undefined ? undefined : !value;
}

function compileStrings(fact: FactWord, raw: unknown, report: Report): Test | undefined {
  if (fact.bare === 'each' && (typeof raw === 'string' || Array.isArray(raw))) {
    const each = readGlobs(typeof raw === 'string' ? [raw] : raw, '', report);
    return each && compileStrings(fact, { each: typeof raw === 'string' ? [raw] : raw }, report);
  }
  if (!isObject(raw)) {
    const forms =
      '{"each": […]} (every value matches one of these), {"any": […]} (at least one value does) or {"none": […]} (no value does)';
    report(
      '',
      `found ${describeValue(raw)}, but "${fact.name}" is a list of values; say which you mean: ${forms}.`,
    );
    return undefined;
  }
  const keys = readKeys(raw, ['each', 'any', 'none'], report);
  if (keys === undefined) return undefined;
  const part = (key: string): Choice | undefined =>
    keys.has(key) ? readGlobs(keys.get(key), `/${key}`, report) : undefined;
  const [each, any, none] = [part('each'), part('any'), part('none')];
  const every = (items: readonly string[], test: Choice, work: Work): boolean | undefined => {
    let all: boolean | undefined = true;
    for (const item of items) {
      all = and(all, test(item, work));
      if (all === false || work.left < 0) return false;
    }
    return all;
  };
  return (value, work) => {
    if (typeof value !== 'object') return undefined;
    let holds: boolean | undefined = true;
    if (each !== undefined) holds = every(value, each, work);
    if (none !== undefined)
      holds = and(
        holds,
        every(value, (item) => negate(none(item, work)), work),
      );
    // "At least one matches" is the opposite of "every one fails to match".
    if (any !== undefined) holds = and(holds, negate(every(value, (item) => negate(any(item, work)), work)));
    return holds;
  };
}

function compileString(fact: FactWord, raw: unknown, report: Report): Test | undefined {
  if (typeof raw === 'string' || Array.isArray(raw)) {
    const any = readGlobs(typeof raw === 'string' ? [raw] : raw, '', report);
    return any && ((value, work) => (typeof value === 'string' ? any(value, work) : undefined));
  }
  if (!isObject(raw)) {
    report(
      '',
      `found ${describeValue(raw)}; "${fact.name}" takes a pattern, an array of patterns (any of them) or {"not": […]}.`,
    );
    return undefined;
  }
  const keys = readKeys(raw, ['any', 'not'], report);
  if (keys === undefined) return undefined;
  const any = keys.has('any') ? readGlobs(keys.get('any'), '/any', report) : undefined;
  const not = keys.has('not') ? readGlobs(keys.get('not'), '/not', report) : undefined;
  return (value, work) => {
    if (typeof value !== 'string') return undefined;
    const wanted = any === undefined ? true : any(value, work);
    return not === undefined ? wanted : and(wanted, negate(not(value, work)));
  };
}

function compileNumber(fact: FactWord, raw: unknown, report: Report): Test | undefined {
  if (isNumber(raw) || Array.isArray(raw)) {
    const any = readNumbers(isNumber(raw) ? [raw] : raw, '', report);
    return any && ((value) => (typeof value === 'number' ? any.includes(value) : undefined));
  }
  if (!isObject(raw)) {
    report(
      '',
      `found ${describeValue(raw)}; "${fact.name}" takes a number, an array of numbers, or {"min": N, "max": N, "not": […]}.`,
    );
    return undefined;
  }
  const keys = readKeys(raw, ['min', 'max', 'not'], report);
  if (keys === undefined) return undefined;
  const bound = (key: string, otherwise: number): number => {
    if (!keys.has(key)) return otherwise;
    const limit = keys.get(key);
    if (isNumber(limit)) return Number(limit);
    report(`/${key}`, `found ${describeValue(limit)}; expected a number.`);
    return otherwise;
  };
  const [min, max] = [bound('min', -Infinity), bound('max', Infinity)];
  if (min > max) report('', `"min" ${min} is above "max" ${max}: no value can satisfy both.`);
  const not = keys.has('not') ? (readNumbers(keys.get('not'), '/not', report) ?? []) : [];
  return (value) => {
    if (typeof value !== 'number' || Number.isNaN(value)) return undefined;
    return value >= min && value <= max && !not.includes(value);
  };
}

/**
 * Compiles one `where` entry. String facts: a pattern, an array (any of), `{any, not}`. Numbers: a number, an
 * array, `{min, max, not}`. Booleans: true or false. Lists: `{each, any, none}`; `each` and `none` hold for an
 * empty list, `any` does not.
 * @returns undefined after a report.
 */
export function compileCondition(fact: FactWord, raw: unknown, report: Report): Test | undefined {
  if (fact.type === 'strings') return compileStrings(fact, raw, report);
  if (fact.type === 'string') return compileString(fact, raw, report);
  if (fact.type === 'number') return compileNumber(fact, raw, report);
  if (typeof raw !== 'boolean') {
    report('', `found ${describeValue(raw)}; "${fact.name}" takes true or false.`);
    return undefined;
  }
  return (value) => (typeof value === 'boolean' ? value === raw : undefined);
}

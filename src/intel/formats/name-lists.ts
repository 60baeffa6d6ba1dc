import type { Indicator } from '../indicator.js';
import { fail, note, quote, reject, type Run } from './run.js';
import type { Fit, Format } from './format.js';
import { linesOf, withoutComment } from './lines.js';
import type { Sample } from './sample.js';
import { indicator, indicatorsOf, readValue } from './values.js';

/** Lists of domains in the syntax of the programs that block them. */
export const NAME_FORMATS = {
  hosts: { detect: fitsHosts, parse: readHosts },
  adblock: { detect: fitsAdblock, parse: readAdblock },
} satisfies Record<string, Format>;

/** Where a hosts file sends names that are to be blocked. */
const SINK = /^(?:0\.0\.0\.0|127\.0\.0\.\d{1,3}|0|::|::1)\s+(?=\S)/;

function fitsHosts({ data }: Sample): Fit {
  const entries = data.filter((line) => SINK.test(line));
  // A hosts file begins with the names of the machine itself.
  return entries.length > 0 && entries.length >= data.length * 0.8 ? 3 : 0;
}

/** `0.0.0.0 name name …`. Names of the machine itself, which have one label, are left out. */
function* readHosts(text: string, run: Run): Generator<Indicator> {
  for (const line of linesOf(text, run)) {
    const entry = withoutComment(line.text);
    if (entry === '') continue;
    const sink = SINK.exec(entry)?.[0];
    if (sink === undefined) {
      // `198.51.100.7 name` maps a name: that is no listing.
      if (/^[\da-f.:%a-z]+\s+\S/i.test(entry)) run.skipped++;
      else reject(run, line.number, `${quote(entry)} is no address and name`);
      continue;
    }
    for (const name of entry.slice(sink.length).split(/\s+/)) {
      const harmless = !name.includes('.') || /^(?:localhost\.localdomain|0\.0\.0\.0)$/.test(name);
      if (harmless) run.skipped++;
      else yield* indicatorsOf('domain', name, {}, run, line.number);
    }
  }
}

/** `||name^` for a domain with all below it, `@@` in front for an exception, options after `$`. */
const RULE = /^(@@)?\|\|([^/^$|*?:\s]+)(?::\d{1,5})?\^?\|?(?:\$([\w,~=|.-]*))?$/;
const MAX_EXCEPTIONS = 200_000;
/** Options under which a rule still means every connection to the domain. */
const WHOLE = new Set(['', 'important', 'all', 'third-party', '3p', 'document', 'doc', 'popup']);

function fitsAdblock({ lines }: Sample): Fit {
  if (/^\[Adblock/i.test(lines[0] ?? '')) return 3;
  const rules = lines.filter((line) => !/^[!#]/.test(line));
  return rules.length > 0 && rules.filter((line) => /^(?:@@)?\|\|/.test(line)).length >= rules.length / 2
    ? 3
    : 0;
}

/**
 * AdBlock rules that block whole domains. Exceptions are read first: one for a domain takes out that domain and those
 * below it, anywhere in the list. An exception below a listed domain cannot be expressed in a list of domains, and is reported.
 */
function* readAdblock(text: string, run: Run): Generator<Indicator> {
  const excepted = new Set<string>();
  const above = new Map<string, string>();
  for (const line of linesOf(text, { ...run, problems: [] })) {
    const [, exception, host = ''] = RULE.exec(line.text) ?? [];
    const name = exception === undefined ? undefined : readValue('domain', host)[0]?.value;
    if (name === undefined) continue;
    if (excepted.add(name).size > MAX_EXCEPTIONS) {
      fail(run, line.number, `there are over ${MAX_EXCEPTIONS} exceptions`);
      return;
    }
    for (const parent of above.size < MAX_EXCEPTIONS ? parentsOf(name) : []) above.set(parent, name);
  }
  for (const line of linesOf(text, run)) {
    if (/^[!#[]/.test(line.text)) continue;
    const [, exception, host, options = ''] = RULE.exec(line.text) ?? [];
    if (exception !== undefined) continue;
    if (host === undefined || !options.split(',').every((option) => WHOLE.has(option))) {
      // Rules for parts of pages: paths, elements, scripts.
      run.skipped++;
      continue;
    }
    const [value] = readValue(/^[\d.]+$/.test(host) ? 'address' : 'domain', host);
    if (value === undefined) {
      reject(run, line.number, `${quote(host)} is no domain`);
    } else if (excepted.has(value.value) || parentsOf(value.value).some((parent) => excepted.has(parent))) {
      run.skipped++;
    } else {
      const below = above.get(value.value);
      if (below !== undefined)
        note(run, line.number, `the exception for ${quote(below)} is lost: put it on the allowlist`);
      yield indicator(value, {});
    }
  }
}

/** Names above a name, at most 127. */
function parentsOf(name: string): string[] {
  const parents: string[] = [];
  for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1))
    parents.push(name.slice(dot + 1));
  return parents;
}

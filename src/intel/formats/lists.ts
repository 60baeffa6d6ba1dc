import type { Indicator } from '../indicator.js';
import { quote, reject, type Run } from './run.js';
import type { Fit, Format } from './format.js';
import { linesOf, withoutComment } from './lines.js';
import type { Sample } from './sample.js';
import { indicator, indicatorsOf, portNumber, readValue } from './values.js';

/** The formats with one entry a line. */
export const LIST_FORMATS = {
  list: { detect: fitsList, parse: readList },
  'drop-text': {
    detect: everyLine(/^[\da-f.:]+\/\d{1,3}\s*;\s*SBL\d+$/i, ({ lines }) => lines),
    parse: readList,
  },
  dshield: { detect: fitsDshield, parse: readDshield },
  iprep: {
    detect: everyLine(/^[\da-f.:]+(?:\/\d{1,3})?,\d{1,3},\d{1,3}$/i, ({ data }) => data),
    parse: readIprep,
  },
} satisfies Record<string, Format>;

/** Fits when every line but comments is of this kind, and there is one. */
function everyLine(pattern: RegExp, lines: (sample: Sample) => readonly string[]): (sample: Sample) => Fit {
  return (sample) => {
    const entries = lines(sample).filter((line) => !/^[#;]/.test(line));
    return entries.length > 0 && entries.every((line) => pattern.test(line)) ? 3 : 0;
  };
}

/** One value, and perhaps a count after it: some lists state on how many other lists an address is. */
const ENTRY = /^(\S+(?:\s*-\s*[\da-f.:]+)?)(?:\s+\d+)?$/i;

function fitsList({ data }: Sample): Fit {
  const values = data.map((line) => ENTRY.exec(line)?.[1]);
  const good = values.filter((value) => value !== undefined && readValue('any', value).length > 0);
  return good.length > 0 && !values.includes(undefined) && good.length >= data.length * 0.9 ? 2 : 0;
}

function* readList(text: string, run: Run): Generator<Indicator> {
  for (const line of linesOf(text, run)) {
    const entry = withoutComment(line.text);
    if (entry === '') continue;
    const value = ENTRY.exec(entry)?.[1];
    if (value === undefined) reject(run, line.number, `${quote(entry)} is not one value`);
    else yield* indicatorsOf('any', value, {}, run, line.number);
  }
}

const DSHIELD = /^([\d.]+)\t([\d.]+)\t(\d{1,2})(?:\t|$)/;

function fitsDshield({ data }: Sample): Fit {
  const entries = data.filter((line) => !/^Start\t/i.test(line));
  return entries.length > 0 && entries.every((line) => DSHIELD.test(line)) ? 3 : 0;
}

/** DShield: first address, last address and prefix length, which have to agree. */
function* readDshield(text: string, run: Run): Generator<Indicator> {
  for (const line of linesOf(text, run)) {
    const entry = withoutComment(line.text);
    if (entry === '' || /^Start\t/i.test(entry)) continue;
    const [, first = '', last = '', mask = ''] = DSHIELD.exec(entry) ?? [];
    const [prefix, ...others] = readValue('address', `${first}/${mask}`);
    const range = readValue('address', `${first}-${last}`);
    if (prefix === undefined || others.length > 0 || range.length !== 1 || range[0]?.value !== prefix.value) {
      reject(run, line.number, `${quote(entry)} is no start, end and prefix length of one network`);
    } else {
      yield indicator(prefix, {});
    }
  }
}

/** Suricata: address, category number, score from 1 to 127, which becomes the confidence. */
function* readIprep(text: string, run: Run): Generator<Indicator> {
  for (const line of linesOf(text, run)) {
    const entry = withoutComment(line.text);
    if (entry === '') continue;
    const fields = entry.split(',', 4).map((field) => field.trim());
    const [address = '', category = '', score = ''] = fields;
    const points = portNumber(score);
    if (fields.length !== 3 || !/^\d{1,3}$/.test(category) || points < 1 || points > 127) {
      reject(run, line.number, `${quote(entry)} is no address, category and score from 1 to 127`);
    } else {
      const context = { confidence: Math.round((points / 127) * 100), threat: `category ${category}` };
      yield* indicatorsOf('address', address, context, run, line.number);
    }
  }
}

import { CSV_FORMATS } from './csv-feeds.js';
import { startRun, type Run } from './run.js';
import { FORMATS, type Format, type FormatName } from './format.js';
import { JSON_FORMATS } from './json-feeds.js';
import { LIST_FORMATS } from './lists.js';
import { MISP_FORMAT } from './misp.js';
import { NAME_FORMATS } from './name-lists.js';
import { feedOf, type ParsedFeed } from './parsed-feed.js';
import { REPORT_FORMAT } from './report.js';
import { RPZ_FORMAT } from './rpz.js';
import { sampleOf } from './sample.js';
import { STIX_FORMAT } from './stix.js';

export type { ParsedFeed } from './parsed-feed.js';

const TABLE: Readonly<Record<FormatName, Format>> = {
  ...CSV_FORMATS,
  ...LIST_FORMATS,
  ...JSON_FORMATS,
  ...NAME_FORMATS,
  ...RPZ_FORMAT,
  ...MISP_FORMAT,
  ...STIX_FORMAT,
  ...REPORT_FORMAT,
};

/** Whether a format of this name exists. */
export function isFormatName(name: string): name is FormatName {
  return (FORMATS as readonly string[]).includes(name);
}

/**
 * Reads the text of a feed. Never throws, and takes time linear in the length of the text.
 *
 * @param text the feed, decoded as UTF-8; a byte order mark is allowed
 * @param format its format, or `auto` to detect it from the text
 * @param now seconds since 1970, for entries that state from when or until when they are valid
 */
export function parseFeed(text: string, format: FormatName | 'auto', now: number): ParsedFeed {
  const run = startRun(now);
  const body = text.startsWith('\ufeff') ? text.slice(1) : text;
  const name = format === 'auto' ? detect(body, run) : format;
  return feedOf(run, name, name === undefined ? [] : TABLE[name].parse(body, run));
}

/** The format that fits a text best; none, and a failure that says what to name, where none or several do. */
function detect(text: string, run: Run): FormatName | undefined {
  const sample = sampleOf(text);
  const fits = FORMATS.map((name) => ({ name, fit: TABLE[name].detect(sample) }));
  const best = Math.max(...fits.map(({ fit }) => fit));
  const names = best === 0 ? [] : fits.filter(({ fit }) => fit === best).map(({ name }) => name);
  if (names.length === 1) return names[0];
  run.failure =
    names.length === 0
      ? `the text is of no known format: name its format, one of ${FORMATS.join(', ')}`
      : `the text may be ${names.join(' or ')}: name one of them as its format`;
  return undefined;
}

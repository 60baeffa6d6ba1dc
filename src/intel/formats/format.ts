import type { Indicator } from '../indicator.js';
import type { Run } from './run.js';
import type { Sample } from './sample.js';

/** Every feed format, as `format` in the configuration names it. docs/reference/feed-formats.md says what each one is. */
export const FORMATS = [
  'feodo-json',
  'feodo-csv',
  'urlhaus-json',
  'urlhaus-csv',
  'threatfox-json',
  'threatfox-csv',
  'sslbl-sha1',
  'sslbl-ip',
  'drop-json',
  'drop-text',
  'dshield',
  'list',
  'hosts',
  'adblock',
  'rpz',
  'misp',
  'stix',
  'iprep',
  'csv',
  'json',
  'report',
] as const;

export type FormatName = (typeof FORMATS)[number];

/**
 * How well a text fits a format: 0 not at all, 1 it is prose with such values in it, 2 it is a list or table of them,
 * 3 it bears the marks of this very feed (its column names, its keys, its syntax).
 */
export type Fit = 0 | 1 | 2 | 3;

/** One format. `parse` yields indicators as it reads and notes in `run` what it could not read. */
export interface Format {
  readonly detect: (sample: Sample) => Fit;
  readonly parse: (text: string, run: Run) => Iterable<Indicator>;
}

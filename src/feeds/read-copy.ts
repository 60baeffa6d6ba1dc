import type { FeedSource } from '../intel/feed-source.js';
import { parseFeed } from '../intel/formats/parse.js';
import type { ParsedFeed } from '../intel/formats/parsed-feed.js';
import { parseStixObjects, parseTaxiiEnvelope } from '../intel/formats/stix.js';
import type { Indicator } from '../intel/indicator.js';
import { readCopyFile, type CopyFile } from './copy.js';
import { FeedError } from './feed-error.js';
import { unpack } from './unpack.js';

/** A copy as it is read. */
export interface CopyReading {
  /** Made while they are asked for; once. */
  readonly indicators: Iterable<Indicator>;
  /** How it went; final once the indicators were iterated to their end. */
  report(): CopyReport;
}

export interface CopyReport {
  readonly format: string;
  readonly rejected: number;
  /** At most 20. */
  readonly problems: readonly string[];
  /** Why the copy as a whole must not be used. */
  readonly failure: string | undefined;
}

const MAX_PROBLEMS = 20;

/**
 * Reads the files of a copy.
 *
 * @param now seconds since 1970
 * @throws FeedError when a file is missing, damaged or cannot be unpacked.
 */
export async function readCopy(
  source: FeedSource,
  directory: string,
  files: readonly CopyFile[],
  now: number,
): Promise<CopyReading> {
  const texts: string[] = [];
  let left = source.maxSize;
  for (const file of files) {
    try {
      for (const text of await unpack(await readCopyFile(directory, file), left)) {
        left -= text.length;
        texts.push(text);
      }
    } catch (error) {
      throw new FeedError((error as Error).message);
    }
  }
  const parts = partsOf(source, texts, now);
  const done: ParsedFeed[] = [];
  return {
    indicators: (function* () {
      for (const part of parts) {
        yield* part.indicators;
        done.push(part);
      }
    })(),
    report: () => ({
      format: [...new Set(done.map(({ format }) => format ?? ''))].filter((name) => name !== '').join(', '),
      rejected: done.reduce((sum, { rejected }) => sum + rejected, 0),
      problems: done.flatMap(({ problems }) => problems).slice(0, MAX_PROBLEMS),
      failure: failureOf(done),
    }),
  };
}

function* partsOf(source: FeedSource, texts: readonly string[], now: number): Generator<ParsedFeed> {
  if (source.type === 'taxii') yield parseStixObjects(texts.flatMap(objectsOf), now);
  else {
    for (const text of texts) yield parseFeed(text, source.type === 'misp' ? 'misp' : source.format, now);
  }
}

function objectsOf(page: string): readonly unknown[] {
  const envelope = parseTaxiiEnvelope(page);
  return typeof envelope === 'string' ? [] : envelope.objects;
}

/** In an archive of several texts one may be a licence: that no format fits it does not spoil the others. */
function failureOf(parts: readonly ParsedFeed[]): string | undefined {
  const readable = parts.some(({ format }) => format !== undefined);
  return parts.find(({ format, failure }) => failure !== undefined && (format !== undefined || !readable))
    ?.failure;
}

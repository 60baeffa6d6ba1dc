import type { FeedSource } from '../intel/feed-source.js';
import type { CopyFile, CopyMeta } from './copy.js';
import { FeedError } from './feed-error.js';
import type { HttpAnswer } from './http.js';
import { openNewFile } from './new-file.js';

/** What a refresh brought, on disk but not yet judged. */
export type Collected = Pick<CopyMeta, 'files' | 'etag' | 'lastModified' | 'cursor' | 'wholeAt'>;

/** A refresh on its way. */
export interface Collecting {
  readonly source: FeedSource;
  /** Where new files go. */
  readonly directory: string;
  /** The last good copy of this very feed. */
  readonly before: CopyMeta | undefined;
  readonly now: number;
  readonly onBytes: (bytes: number) => void;
}

/** Headers that make the answer 304 where there is nothing new. */
export function conditions(before: CopyMeta | undefined): Record<string, string> {
  return {
    ...(before === undefined || before.etag === '' ? {} : { 'if-none-match': before.etag }),
    ...(before === undefined || before.lastModified === ''
      ? {}
      : { 'if-modified-since': before.lastModified }),
  };
}

/** A page for people where a feed was: a login, a captive portal, an error that calls itself 200. */
export function refuseWebPage(source: FeedSource, answer: HttpAnswer): void {
  const type = answer.header('content-type').split(';', 1)[0]!.trim().toLowerCase();
  if ((type === 'text/html' || type === 'application/xhtml+xml') && source.format !== 'report') {
    throw new FeedError(
      `answered with a web page (${type}); if that page is the report, say "format": "report"`,
    );
  }
}

/** Writes a body into a new file. */
export async function saveBody(answer: HttpAnswer, directory: string, prefix: string): Promise<CopyFile> {
  const file = await openNewFile(directory, prefix);
  try {
    await answer.readBody((chunk) => file.write(chunk));
  } catch (error) {
    await file.abort();
    throw error;
  }
  return file.close();
}

/** A body in memory; the session bounds it. */
export async function readAnswer(answer: HttpAnswer): Promise<Buffer> {
  const chunks: Buffer[] = [];
  await answer.readBody((chunk) => void chunks.push(chunk));
  return Buffer.concat(chunks);
}

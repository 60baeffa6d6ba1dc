import { readAnswer, refuseWebPage, type Collected, type Collecting } from './collecting.js';
import type { CopyFile } from './copy.js';
import { FeedError } from './feed-error.js';
import { openHttpSession, type HttpSession } from './http.js';
import { openNewFile } from './new-file.js';
import { parseTaxiiEnvelope } from '../intel/formats/stix.js';

const ACCEPT = 'application/taxii+json;version=2.1';
const PAGE_LIMIT = 1_000;
const MAX_PAGES = 10_000;
/** A copy of more pages is fetched anew; and any copy once a week, so that what the server withdrew goes. */
const MAX_FILES = 500;
const WHOLE_INTERVAL_MS = 7 * 86_400_000;

/**
 * Asks a TAXII 2.1 collection for what was added since the last time (TAXII 2.1, 3.4, 5.4). Pages are kept as they
 * came; which version of an object counts is found when they are read.
 */
export async function collectTaxii(job: Collecting): Promise<Collected | undefined> {
  const { source, before, now } = job;
  const session = await openHttpSession(source, job.onBytes);
  try {
    const goOn =
      before !== undefined &&
      before.cursor !== '' &&
      now - before.wholeAt < WHOLE_INTERVAL_MS &&
      before.files.length < MAX_FILES;
    const old = goOn ? before.files : [];
    const { files, cursor } = await pages(job, session, goOn ? before.cursor : '');
    if (goOn && files.length === 0) return undefined;
    const all = [...old, ...files];
    if (goOn && all.reduce((sum, { bytes }) => sum + bytes, 0) > source.maxSize) {
      throw new FeedError(`what it added up to is larger than maxSize, ${source.maxSize} bytes`);
    }
    return {
      files: all,
      etag: '',
      lastModified: '',
      cursor: cursor === '' && goOn ? before.cursor : cursor,
      wholeAt: goOn ? before.wholeAt : now,
    };
  } finally {
    await session.close();
  }
}

/** All pages after a time; the empty ones are not kept. */
async function pages(
  job: Collecting,
  session: HttpSession,
  from: string,
): Promise<{ files: CopyFile[]; cursor: string }> {
  const files: CopyFile[] = [];
  let after = from;
  let next = '';
  let newest = from;
  for (let page = 1; page <= MAX_PAGES; page++) {
    const answer = await session.get(objectsUrl(job.source.url, after, next), { accept: ACCEPT });
    refuseWebPage(job.source, answer);
    const body = await readAnswer(answer);
    const envelope = parseTaxiiEnvelope(body.toString());
    if (typeof envelope === 'string') throw new FeedError(`page ${page}: ${envelope}`);
    if (envelope.objects.length > 0) {
      const file = await openNewFile(job.directory, 'page');
      await file.write(body);
      files.push(await file.close());
    }
    newest = answer.header('x-taxii-date-added-last').slice(0, 64) || newest;
    if (!envelope.more) return { files, cursor: newest };
    const here = `${after} ${next}`;
    // Without "next", what was added after the last object of this page comes next (TAXII 2.1, 3.4).
    if (envelope.next === '') after = newest;
    next = envelope.next;
    // The attack: a server that has always one more page, the same one.
    if (`${after} ${next}` === here)
      throw new FeedError(`page ${page} says that there is more, but not where`);
  }
  throw new FeedError(`more than ${MAX_PAGES} pages`);
}

/** The address of a page; a query in the configured URL stays. */
function objectsUrl(configured: string, addedAfter: string, next: string): URL {
  const url = new URL(configured);
  url.pathname = `${url.pathname.replace(/\/(objects\/?)?$/, '')}/objects/`;
  const { searchParams: query } = url;
  if (!query.has('match[type]')) query.set('match[type]', 'indicator');
  if (!query.has('limit')) query.set('limit', `${PAGE_LIMIT}`);
  if (addedAfter !== '') query.set('added_after', addedAfter);
  if (next !== '') query.set('next', next);
  return url;
}

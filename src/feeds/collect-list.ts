import { conditions, refuseWebPage, saveBody, type Collected, type Collecting } from './collecting.js';
import { FeedError } from './feed-error.js';
import { openHttpSession } from './http.js';

/** Fetches a feed that is one document. */
export async function collectList(job: Collecting): Promise<Collected | undefined> {
  const { source, before, now } = job;
  const session = await openHttpSession(source, job.onBytes);
  try {
    const answer = await session.get(new URL(source.url), conditions(before));
    if (answer.unchanged) {
      if (before === undefined) throw new FeedError('answered 304 without having been asked for changes');
      return undefined;
    }
    refuseWebPage(source, answer);
    const file = await saveBody(answer, job.directory, 'body');
    return {
      files: [file],
      etag: answer.header('etag').slice(0, 1024),
      lastModified: answer.header('last-modified').slice(0, 100),
      cursor: '',
      wholeAt: now,
    };
  } finally {
    await session.close();
  }
}

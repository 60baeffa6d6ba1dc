import { collectFile } from './collect-file.js';
import type { Collected, Collecting } from './collecting.js';

/**
 * Asks a feed for what is new. @returns undefined when that is nothing.
 *
 * @throws FeedError, or any Error of the file system, with one readable line.
 */
export async function collect(job: Collecting): Promise<Collected | undefined> {
  const { type, url } = job.source;
  // Loaded when needed: a feed from a file does not pay for the HTTP client.
  if (type === 'misp') return (await import('./collect-misp.js')).collectMisp(job);
  if (type === 'taxii') return (await import('./collect-taxii.js')).collectTaxii(job);
  return url.startsWith('file:') ? collectFile(job) : (await import('./collect-list.js')).collectList(job);
}

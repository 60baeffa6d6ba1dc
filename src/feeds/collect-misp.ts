import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseMispManifest, type MispEvent } from '../intel/formats/misp.js';
import { writeWhole } from '../store/write-whole.js';
import { readBounded } from './collect-file.js';
import { conditions, readAnswer, refuseWebPage, type Collected, type Collecting } from './collecting.js';
import { sha256, type CopyFile } from './copy.js';
import { FeedError } from './feed-error.js';

/** How documents of the feed are had. */
interface Documents {
  /** Undefined: it is what it was the last time. */
  manifest(): Promise<{ text: string; etag: string; lastModified: string } | undefined>;
  /** Undefined: there is none. */
  event(uuid: string): Promise<Buffer | undefined>;
  close(): Promise<void>;
}

/**
 * Reads a MISP feed directory: the manifest, and those of its newest events whose timestamp moved. Events that were
 * fetched stay on disk even when the refresh does not come to its end, so that the next one goes on from there.
 */
export async function collectMisp(job: Collecting): Promise<Collected | undefined> {
  const documents = job.source.url.startsWith('file:') ? fileDocuments(job) : await httpDocuments(job);
  try {
    const manifest = await documents.manifest();
    if (manifest === undefined) return undefined;
    const events = parseMispManifest(manifest.text);
    if (typeof events === 'string') throw new FeedError(`manifest.json: ${events}`);
    const { etag, lastModified } = manifest;
    const files = await eventFiles(job, documents, events.slice(0, job.source.maxEvents));
    return { files, etag, lastModified, cursor: '', wholeAt: job.now };
  } finally {
    await documents.close();
  }
}

async function eventFiles(
  job: Collecting,
  documents: Documents,
  events: readonly MispEvent[],
): Promise<CopyFile[]> {
  const there = new Set(await readdir(job.directory));
  const files: CopyFile[] = [];
  let left = job.source.maxSize;
  for (const { uuid, timestamp } of events) {
    // The UUID was checked to be one; the time is part of the name, so that a changed event is another file.
    const name = `event-${uuid}-${timestamp}.json`;
    const path = join(job.directory, name);
    let body: Buffer | undefined = there.has(name) ? await readFile(path) : undefined;
    if (body === undefined) {
      body = await documents.event(uuid);
      // An event that was withdrawn between the two requests is no reason to do without the others.
      if (body === undefined) continue;
      await writeWhole(path, body);
    }
    left -= body.length;
    if (left < 0)
      throw new FeedError(`its events are larger than maxSize, ${job.source.maxSize} bytes; see maxEvents`);
    files.push({ name, bytes: body.length, sha256: sha256(body) });
  }
  return files;
}

async function httpDocuments(job: Collecting): Promise<Documents> {
  const { source, before } = job;
  const { openHttpSession } = await import('./http.js');
  const session = await openHttpSession(source, job.onBytes);
  const manifest = new URL(source.url);
  if (!manifest.pathname.endsWith('/manifest.json'))
    manifest.pathname = manifest.pathname.replace(/\/?$/, '/manifest.json');
  return {
    async manifest() {
      const answer = await session.get(manifest, conditions(before));
      if (answer.unchanged) return undefined;
      refuseWebPage(source, answer);
      const text = (await readAnswer(answer)).toString();
      return {
        text,
        etag: answer.header('etag').slice(0, 1024),
        lastModified: answer.header('last-modified').slice(0, 100),
      };
    },
    async event(uuid) {
      const url = new URL(manifest);
      url.pathname = url.pathname.replace(/[^/]*$/, `${uuid}.json`);
      try {
        return await readAnswer(await session.get(url));
      } catch (error) {
        if (error instanceof FeedError && (error.status === 404 || error.status === 410)) return undefined;
        throw error;
      }
    },
    close: () => session.close(),
  };
}

function fileDocuments({ source, before, onBytes }: Collecting): Documents {
  const path = fileURLToPath(source.url);
  const directory = path.replace(/\/(manifest\.json)?$/, '');
  return {
    async manifest() {
      const read = await readBounded(join(directory, 'manifest.json'), source.maxSize, before?.etag);
      if (read === undefined) return undefined;
      return { text: read.bytes.toString(), etag: read.version, lastModified: '' };
    },
    async event(uuid) {
      const read = await readBounded(join(directory, `${uuid}.json`), source.maxSize, undefined);
      onBytes(read?.bytes.length ?? 0);
      return read?.bytes;
    },
    close: async () => undefined,
  };
}

import type { Call } from '../docker/call.js';
import type { RequestEngine } from '../docker/engine-answer.js';
import { formatImageName, pulledImageName, readImageName } from '../hazards/image-name.js';
import { queryText } from '../hazards/call-values.js';
import type { ImageOwners } from './image-owners.js';

/** The engine's images before a pull: their ids, and the repositories that they had been pulled from. */
export type ImagesBefore = ReadonlyMap<string, ReadonlySet<string>>;

interface ListedImage {
  readonly Id?: string;
  readonly RepoDigests?: readonly string[] | null;
}

/** Of `repository@digest`. */
const repositoryOf = (reference: string): string => readImageName(reference)?.name ?? '';

export async function listImages(request: RequestEngine): Promise<ImagesBefore> {
  const { status, body } = await request('GET', '/images/json?all=1&digests=1');
  if (status !== 200 || !Array.isArray(body)) throw new Error(`status ${status} to GET /images/json`);
  return new Map(
    (body as ListedImage[]).map(({ Id = '', RepoDigests }) => [
      Id,
      new Set((RepoDigests ?? []).map(repositoryOf)),
    ]),
  );
}

/** More than the longest line that is looked for, so that none is lost between two pieces. */
const OVERLAP = 512;
const DIGEST = /"status":"Digest: (sha256:[0-9a-f]{64})"/g;
const DONE = /"status":"Status: (?:Downloaded newer image|Image is up to date) for /;
const DELETED = /"Deleted":\s?"(sha256:[0-9a-f]{64})"/g;
/** A pull of all tags of a repository prints a digest for each. */
const MAX_DIGESTS = 1_000;

/**
 * An observer of the answer to a pull: the image that was pulled belongs to the owner from then on.
 *
 * INVARIANT: only an image that was not there before, or that had been pulled from the same repository. A registry of an
 * attacker can serve a manifest that names the id of another owner's image; the engine then uses the image that
 * it has and fetches nothing (distribution/pull_v2.go).
 *
 * @param claimed receives the promise of each claim; the next lookup of images waits for it.
 */
export function watchPull(
  call: Call,
  owner: string,
  before: ImagesBefore,
  {
    request,
    images,
    claimed,
  }: { request: RequestEngine; images: ImageOwners; claimed: (claim: Promise<void>) => void },
): (piece: Buffer) => void {
  const image = pulledImageName(queryText(call, 'fromImage'), queryText(call, 'tag'));
  const digests = new Set<string>();
  let rest = '';
  const claim = async (): Promise<void> => {
    for (const digest of digests) {
      const name = encodePath(formatImageName({ name: image!.name, tag: '', digest }));
      const { status, body } = await request('GET', `/images/${name}/json`);
      const id = (body as ListedImage | null)?.Id ?? '';
      if (status !== 200 || id === '') continue;
      const known = before.get(id);
      if (known === undefined || known.has(image!.name)) images.add(id, owner);
    }
  };
  return (piece) => {
    const text = rest + piece.toString('latin1');
    for (const [, digest = ''] of text.matchAll(DIGEST)) if (digests.size < MAX_DIGESTS) digests.add(digest);
    if (DONE.test(text) && image !== undefined) claimed(claim().catch(() => {}));
    rest = DONE.test(text) ? '' : text.slice(-OVERLAP);
  };
}

/** An observer of the answer to a removal: an image that is gone has no owner. */
export function watchRemoval(images: ImageOwners): (piece: Buffer) => void {
  let rest = '';
  return (piece) => {
    const text = rest + piece.toString('latin1');
    for (const [, id = ''] of text.matchAll(DELETED)) images.remove(id);
    rest = text.slice(-OVERLAP);
  };
}

const encodePath = (name: string): string => name.split('/').map(encodeURIComponent).join('/');

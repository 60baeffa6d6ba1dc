import { LRUCache } from 'lru-cache';
import { openLines, readLines, rewriteLines } from '../store/lines.js';
import { atMost } from '../base/bounded.js';

/** Who has pulled which image: a pulled image cannot be given a label. It survives a restart of the guard. */
export interface ImageOwners {
  /** @param image its whole id, `sha256:…` */
  of(image: string): readonly string[];
  add(image: string, owner: string): void;
  /** The image is gone. */
  remove(image: string): void;
  close(): void;
}

const IMAGES = 65_536;

/**
 * @param file one JSON line a change; written anew at the start when it has grown.
 * @param warn called once when the file cannot be written: owners of images pulled from then on are lost at a restart.
 * @throws Error when the file cannot be opened.
 */
export function openImageOwners(file: string, warn: (message: string) => void): ImageOwners {
  const images = new LRUCache<string, readonly string[]>(atMost(IMAGES));
  const change = (image: string, owner: string): void => {
    const owners = images.get(image) ?? [];
    if (owner === '') images.delete(image);
    else if (!owners.includes(owner)) images.set(image, [...owners, owner]);
  };
  const lines = readLines(file, ({ image, owner }) =>
    typeof image === 'string' && typeof owner === 'string' ? { image, owner } : undefined,
  );
  for (const { image, owner } of lines) change(image, owner);
  const now = [...images.entries()]
    .reverse()
    .flatMap(([image, owners]) => owners.map((owner) => ({ image, owner })));
  if (lines.length > 2 * now.length + 2) rewriteLines(file, now);
  const kept = openLines(file, (reason) =>
    warn(`the owners of pulled images cannot be saved and are lost at a restart: ${reason}`),
  );
  /** An empty owner: the image is gone. */
  const write = (image: string, owner: string): void => {
    change(image, owner);
    kept.append({ image, owner });
  };
  return {
    of: (image) => images.get(image) ?? [],
    add(image, owner) {
      if (images.get(image)?.includes(owner) !== true) write(image, owner);
    },
    remove(image) {
      if (images.has(image)) write(image, '');
    },
    close: () => kept.close(),
  };
}

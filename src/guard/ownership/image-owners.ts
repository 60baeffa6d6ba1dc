import { closeSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { LRUCache } from 'lru-cache';

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
 * @param warn told once when it cannot be written: what is pulled from then on is forgotten at a restart.
 * @throws Error when the file cannot be opened.
 */
export function openImageOwners(file: string, warn: (message: string) => void): ImageOwners {
  const images = new LRUCache<string, readonly string[]>({ max: IMAGES });
  const change = (image: string, owner: string): void => {
    const owners = images.get(image) ?? [];
    if (owner === '') images.delete(image);
    else if (!owners.includes(owner)) images.set(image, [...owners, owner]);
  };
  const lines = readLines(file);
  for (const { image, owner } of lines) change(image, owner);
  const text = [...images.entries()]
    .reverse()
    .flatMap(([image, owners]) => owners.map((owner) => lineOf(image, owner)))
    .join('');
  if (lines.length > 2 * text.split('\n').length) {
    writeFileSync(`${file}.new`, text, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }
  const fd = openSync(file, 'a', 0o600);
  // A last line that was cut by a crash must not swallow the next one.
  writeSync(fd, '\n');
  let warned = false;
  const write = (image: string, owner: string): void => {
    change(image, owner);
    try {
      writeSync(fd, lineOf(image, owner));
    } catch (error) {
      if (!warned) warn(`who pulled which image is not kept: ${(error as Error).message}`);
      warned = true;
    }
  };
  return {
    of: (image) => images.get(image) ?? [],
    add(image, owner) {
      if (images.get(image)?.includes(owner) !== true) write(image, owner);
    },
    remove(image) {
      if (images.has(image)) write(image, '');
    },
    close: () => closeSync(fd),
  };
}

/** Without an owner: it is gone. */
const lineOf = (image: string, owner: string): string => `${JSON.stringify({ image, owner })}\n`;

/** Lines that were cut or changed are none; the rest counts. */
function readLines(file: string): { readonly image: string; readonly owner: string }[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return text.split('\n').flatMap((line) => {
    try {
      const { image, owner } = JSON.parse(line) as Record<string, unknown>;
      return typeof image === 'string' && typeof owner === 'string' ? [{ image, owner }] : [];
    } catch {
      return [];
    }
  });
}

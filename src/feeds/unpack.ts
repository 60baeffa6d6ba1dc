import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { fromBuffer, type Entry, type ZipFile } from 'yauzl';

const MAX_ENTRIES = 64;
/** A gzip inside a gzip inside … is an attack, not a feed. */
const MAX_DEPTH = 3;

/**
 * The texts in what a feed sent: itself, or what is in its gzip or zip, in any order of wrapping.
 *
 * @param maxSize bytes of all texts together; a bomb is stopped there, not after it went off.
 * @throws Error when it is damaged, too large, encrypted, or holds too much.
 */
export async function unpack(data: Buffer, maxSize: number): Promise<string[]> {
  let left = maxSize;
  const open = async (body: Buffer, depth: number): Promise<string[]> => {
    const packed = isGzip(body) || isZip(body);
    // What is unpacked on the way counts too: many archives in an archive cost time without leaving a text.
    if (depth > 0 || !packed) left -= body.length;
    if (left < 0) throw new Error(`larger than maxSize, ${maxSize} bytes, when unpacked`);
    if (packed && depth >= MAX_DEPTH) throw new Error('packed too many times over');
    if (isGzip(body)) return open(await inflate(body, left), depth + 1);
    if (isZip(body)) {
      const texts: string[] = [];
      for await (const entry of zipEntries(body, () => left)) texts.push(...(await open(entry, depth + 1)));
      return texts;
    }
    return [decode(body)];
  };
  return open(data, 0);
}

const isGzip = (body: Buffer): boolean => body[0] === 0x1f && body[1] === 0x8b && body[2] === 8;
const isZip = (body: Buffer): boolean => body.length > 4 && body.readUInt32BE(0) === 0x504b0304;

async function inflate(body: Buffer, limit: number): Promise<Buffer> {
  try {
    return await promisify(gunzip)(body, { maxOutputLength: Math.max(limit, 1) });
  } catch (error) {
    const tooLarge = (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    throw new Error(
      tooLarge ? 'larger than maxSize when unpacked' : `damaged gzip: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  }
}

async function* zipEntries(body: Buffer, left: () => number): AsyncGenerator<Buffer> {
  const zip = await promisify<Buffer, object, ZipFile>(fromBuffer)(body, {
    lazyEntries: true,
    validateEntrySizes: true,
    strictFileNames: false,
  }).catch((error: Error) => {
    throw new Error(`damaged zip: ${error.message}`, { cause: error });
  });
  if (zip.entryCount > MAX_ENTRIES)
    throw new Error(`a zip with ${zip.entryCount} entries; ${MAX_ENTRIES} at most`);
  for (let read = 0; read < zip.entryCount; read++) {
    const entry = await nextEntry(zip);
    if (entry.fileName.endsWith('/')) continue;
    if (entry.isEncrypted()) throw new Error('the zip is encrypted');
    if (entry.uncompressedSize > left()) throw new Error('larger than maxSize when unpacked');
    yield await readEntry(zip, entry, left());
  }
}

function nextEntry(zip: ZipFile): Promise<Entry> {
  return new Promise((resolve, reject) => {
    const clear = (): void => void zip.off('entry', onEntry).off('error', onError).off('end', onEnd);
    const onEntry = (entry: Entry): void => {
      clear();
      resolve(entry);
    };
    const onError = (error: Error): void => {
      clear();
      reject(new Error(`damaged zip: ${error.message}`, { cause: error }));
    };
    const onEnd = (): void => onError(new Error('it ends too early'));
    zip.on('entry', onEntry).on('error', onError).on('end', onEnd);
    zip.readEntry();
  });
}

async function readEntry(zip: ZipFile, entry: Entry, limit: number): Promise<Buffer> {
  try {
    const stream = await promisify(zip.openReadStream.bind(zip) as typeof openEntry)(entry);
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      size += chunk.length;
      // What the archive states about the size is the attacker's word.
      if (size > limit) throw new Error('larger than maxSize when unpacked');
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    throw new Error(`zip: ${(error as Error).message}`, { cause: error });
  }
}

declare function openEntry(
  entry: Entry,
  done: (error: Error | null, stream: NodeJS.ReadableStream) => void,
): void;

/** UTF-8, or UTF-16 where a byte order mark says so. */
function decode(body: Buffer): string {
  const wide =
    body[0] === 0xff && body[1] === 0xfe
      ? 'utf-16le'
      : body[0] === 0xfe && body[1] === 0xff
        ? 'utf-16be'
        : '';
  return new TextDecoder(wide === '' ? 'utf-8' : wide).decode(body);
}

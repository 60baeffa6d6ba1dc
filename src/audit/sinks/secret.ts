import { readFile } from 'node:fs/promises';
import type { Secret, SinkTls } from './sink.js';

/**
 * Reads a credential. Files are read each time: they may be renewed.
 *
 * @param what for messages; the value itself is in none.
 * @throws Error when there is none, or it cannot stand in a header.
 */
export async function readSecret(from: Secret, what: string): Promise<string> {
  const value =
    'text' in from
      ? from.text
      : 'env' in from
        ? process.env[from.env]
        : (await readNamed(from.file, what)).trim();
  if (value === undefined)
    throw new Error(`${what}: there is no ${'env' in from ? from.env : ''} in the environment`);
  if (!/^[\t\x20-\x7e\x80-\xff]+$/.test(value)) {
    throw new Error(`${what}: its value is empty, or cannot stand in a header`);
  }
  return value;
}

/** What node:tls takes. Said here, so that NODE_TLS_REJECT_UNAUTHORIZED=0 in the environment does not count. */
export async function readTls(
  tls: SinkTls,
): Promise<{ rejectUnauthorized: true; ca?: string; cert?: string; key?: string }> {
  const ca = tls.ca === undefined ? {} : { ca: await readNamed(tls.ca, 'the CA') };
  const cert = tls.cert === undefined ? {} : { cert: await readNamed(tls.cert, 'the certificate') };
  const key = tls.key === undefined ? {} : { key: await readNamed(tls.key, 'the key') };
  return { rejectUnauthorized: true, ...ca, ...cert, ...key };
}

async function readNamed(path: string, what: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: Error) => {
    throw new Error(`${what} cannot be read: ${error.message}`);
  });
}

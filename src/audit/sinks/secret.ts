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

/** Shorter values are words that stand in any text. */
const SHORTEST = 6;

/** A text from a receiver, without the secrets that were sent to it. */
export function withoutSecrets(text: string, secrets: Iterable<string>): string {
  let clean = text;
  for (const secret of secrets) {
    if (secret.length < SHORTEST) continue;
    for (const form of [secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)]) {
      clean = clean.replaceAll(form, '***');
    }
  }
  return clean;
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

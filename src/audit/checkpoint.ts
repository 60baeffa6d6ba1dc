import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { readNamedFile } from '../store/named-files.js';
import type { Head } from './chain.js';

/** A signed statement that the journal had this head. Kept elsewhere (a SIEM), it shows a tail that was cut off. */
export interface Checkpoint extends Head {
  /** Id of the journal; two journals do not vouch for each other. */
  readonly journal: string;
  /** First 16 hex digits of the SHA-256 of the public key. */
  readonly key: string;
  /** Ed25519 (RFC 8032), base64. */
  readonly signature: string;
}

export interface Signer {
  readonly key: string;
  sign(journal: string, head: Head): Checkpoint;
}

/** What is signed: a fixed form, so that it is one text for one head. */
const statement = (journal: string, { seq, hash: own }: Head): Buffer =>
  Buffer.from(`breakwater audit checkpoint\n${journal}\n${seq}\n${own}\n`);

const fingerprint = (key: KeyObject): string =>
  hash('sha256', key.export({ type: 'spki', format: 'der' }), 'hex').slice(0, 16);

/**
 * Opens the private key that signs checkpoints; makes one (0600, with `.pub` beside it) where there is none.
 *
 * @throws Error naming the file, when it is not an Ed25519 key in PEM.
 */
export function openSigner(file: string): Signer {
  const secret = readKey(file) ?? makeKey(file);
  const key = fingerprint(createPublicKey(secret));
  return {
    key,
    sign: (journal, head) => ({
      ...head,
      journal,
      key,
      signature: sign(null, statement(journal, head), secret).toString('base64'),
    }),
  };
}

function readKey(file: string): KeyObject | undefined {
  let pem: string;
  try {
    pem = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return checked(file, () => createPrivateKey(pem));
}

function checked(file: string, read: () => KeyObject): KeyObject {
  let key: KeyObject;
  try {
    key = read();
  } catch (error) {
    throw new Error(`${file}: not a key in PEM: ${(error as Error).message}`, { cause: error });
  }
  if (key.asymmetricKeyType === 'ed25519') return key;
  throw new Error(`${file}: an Ed25519 key is needed, this is ${key.asymmetricKeyType ?? 'another kind'}`);
}

function makeKey(file: string): KeyObject {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const secret = privateKey.export({ type: 'pkcs8', format: 'pem' });
  writeFileSync(file, secret, { mode: 0o600, flag: 'wx' });
  writeFileSync(`${file}.pub`, publicKey.export({ type: 'spki', format: 'pem' }), { mode: 0o644 });
  return privateKey;
}

/** @throws Error naming the file, when it holds no Ed25519 public key in PEM. */
export function readPublicKey(file: string): KeyObject {
  const pem = readNamedFile('the public key', file);
  return checked(file, () => createPublicKey(pem));
}

/** Why a checkpoint does not hold, in words; undefined when it does. */
export function checkpointProblem(checkpoint: Checkpoint, key: KeyObject): string | undefined {
  if (checkpoint.key !== fingerprint(key)) {
    return `signed with another key (${checkpoint.key}; the one given is ${fingerprint(key)})`;
  }
  const signature = Buffer.from(checkpoint.signature, 'base64');
  return verify(null, statement(checkpoint.journal, checkpoint), key, signature)
    ? undefined
    : 'its signature is wrong';
}

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { OWNER_LABEL } from '../hazards/ownership.js';

/** Makes and checks the values of the owner's label. */
export interface OwnerLabels {
  /** `team-a.` and 32 hex digits; `""` for no owner. */
  labelFor(owner: string): string;
  /** The owner that the labels of an object name; `""` where there is none or the signature is wrong. */
  ownerOf(labels: unknown): string;
}

/**
 * A label is signed (HMAC-SHA-256): an image that is pulled, imported or loaded may have any label, but only the guard can
 * sign one.
 *
 * @param file the key, 64 hex digits; created when missing. Labels that were signed with another key count as none.
 * @throws Error when it cannot be read or made.
 */
export function openOwnerLabels(file: string): OwnerLabels {
  const key = readKey(file);
  const known = new Map<string, string>();
  const labelFor = (owner: string): string => {
    if (owner === '') return '';
    let label = known.get(owner);
    if (label === undefined) {
      label = sign(key, owner);
      known.set(owner, label);
    }
    return label;
  };
  return {
    labelFor,
    ownerOf(labels) {
      const value: unknown = (labels as Readonly<Record<string, unknown>> | null | undefined)?.[OWNER_LABEL];
      if (typeof value !== 'string' || value.length > 128) return '';
      const owner = value.slice(0, Math.max(0, value.lastIndexOf('.')));
      const [given, own] = [Buffer.from(value), Buffer.from(owner === '' ? '' : sign(key, owner))];
      return given.length === own.length && timingSafeEqual(given, own) ? owner : '';
    },
  };
}

function sign(key: Buffer, owner: string): string {
  const code = createHmac('sha256', key).update(`breakwater owner ${owner}`).digest('hex');
  return `${owner}.${code.slice(0, 32)}`;
}

function readKey(file: string): Buffer {
  try {
    const fd = openSync(file, 'wx', 0o600);
    try {
      writeSync(fd, `${randomBytes(32).toString('hex')}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const text = readFileSync(file, 'utf8').trim();
  if (!/^[0-9a-f]{64}$/.test(text)) {
    throw new Error(
      `${file} is no key (64 hex digits): restore it, or remove it and give up the owners of all objects`,
    );
  }
  return Buffer.from(text, 'hex');
}

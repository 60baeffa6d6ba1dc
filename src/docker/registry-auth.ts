import type { Work } from '../base/work.js';
import { decodeJson, type JsonLimits } from './go-json.js';
import type { JsonObject } from '../base/json.js';
import { Refusal } from './refusal.js';
import { renderJson } from './render.js';
import type { Schema } from './schema.js';

const STRING: Schema = { type: 'string' };
/** api/types/registry/authconfig.go, and `email`, which daemons up to 20.10 read. */
const FIELDS = [
  'username',
  'password',
  'auth',
  'email',
  'serveraddress',
  'identitytoken',
  'registrytoken',
] as const;
const AUTH: Schema = { type: 'object', fields: Object.fromEntries(FIELDS.map((name) => [name, STRING])) };
const CONFIG: Schema = { type: 'map', values: AUTH };

/**
 * Reads `X-Registry-Auth` (one AuthConfig) or `X-Registry-Config` (a map of them): base64 of JSON in either alphabet,
 * padded or not. dockerd ignores what it cannot decode and goes on without credentials; that is refused here. Returned
 * is the canonical form: base64url with padding, known fields alone. `""` for an empty header.
 *
 * @throws Refusal 400
 */
export function readRegistryAuth(name: string, value: string, limits: JsonLimits, work: Work): string {
  const text = value.trim();
  if (text === '') return '';
  const bytes = decodeBase64(name, text);
  const config = name === 'x-registry-config';
  let decoded: JsonObject;
  try {
    decoded = decodeJson(bytes, config ? CONFIG : AUTH, limits, work).value as JsonObject;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new Refusal(400, 'registry-auth', `the header ${name} does not hold JSON of the expected shape`);
  }
  const canonical: JsonObject = config ? knownEntries(decoded) : knownFields(decoded);
  return encodeBase64Url(renderJson(canonical));
}

function knownEntries(config: JsonObject): JsonObject {
  const kept = Object.create(null) as JsonObject;
  for (const [host, auth] of Object.entries(config)) {
    kept[host] = auth === null ? null : knownFields(auth as JsonObject);
  }
  return kept;
}

function knownFields(auth: JsonObject): JsonObject {
  const kept = Object.create(null) as JsonObject;
  for (const name of FIELDS) {
    const field = auth[name];
    if (field !== undefined) kept[name] = field;
  }
  return kept;
}

function decodeBase64(name: string, text: string): Uint8Array {
  const standard = text
    .replaceAll('-', '+')
    .replaceAll('_', '/')
    .replace(/={1,2}$/, '');
  if (!/^[A-Za-z0-9+/]*$/.test(standard) || standard.length % 4 === 1) {
    throw new Refusal(
      400,
      'registry-auth',
      `the header ${name} is not base64: encode the JSON with base64url`,
    );
  }
  return Uint8Array.from(atob(standard), (character) => character.charCodeAt(0));
}

function encodeBase64Url(text: string): string {
  let binary = '';
  for (const byte of new TextEncoder().encode(text)) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_');
}

/** Fields of an AuthConfig that are sent to the registry; the others only say where it is. */
const SECRETS = FIELDS.filter((name) => name !== 'serveraddress');

/**
 * The registries that a canonical header (as `readRegistryAuth` made it) holds credentials for. `""` stands for the
 * registry of the image itself. An entry without credentials, as the CLI sends it for public images, names none.
 */
export function credentialHosts(name: string, canonical: string): string[] {
  if (canonical === '') return [];
  const decoded = decodeCanonical(canonical);
  const filled = (auth: unknown): boolean =>
    typeof auth === 'object' &&
    auth !== null &&
    SECRETS.some((field) => field in auth && Reflect.get(auth, field) !== '');
  if (name === 'x-registry-config') return Object.keys(decoded).filter((host) => filled(decoded[host]));
  return filled(decoded)
    ? [typeof decoded['serveraddress'] === 'string' ? decoded['serveraddress'] : '']
    : [];
}

function decodeCanonical(canonical: string): Record<string, unknown> {
  const bytes = Uint8Array.from(atob(canonical.replaceAll('-', '+').replaceAll('_', '/')), (c) =>
    c.charCodeAt(0),
  );
  return JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
}

/** Every registry that a canonical header names, with credentials or without. */
export function authHosts(name: string, canonical: string): string[] {
  if (canonical === '') return [];
  const decoded = decodeCanonical(canonical);
  const entries = name === 'x-registry-config' ? Object.entries(decoded) : [['', decoded] as const];
  return entries.flatMap(([host, auth]) => {
    const server: unknown =
      typeof auth === 'object' && auth !== null ? Reflect.get(auth, 'serveraddress') : undefined;
    return [host, typeof server === 'string' ? server : ''].filter((text) => text !== '');
  });
}

import { Refusal } from './refusal.js';

/** A request target taken apart: the path decoded once and without its version prefix, the query still raw. */
export interface Target {
  /** Percent-decoded path without the version prefix: `/containers/json`. */
  readonly path: string;
  /** `1.41`, or `""` for an unversioned path. */
  readonly apiVersion: string;
  /** The N of 1.N, or -1 for an unversioned path. */
  readonly minor: number;
  /** What follows the first `?`, undecoded, or `""`. */
  readonly rawQuery: string;
}

const AUTHORITY = /^https?:\/\/(?:[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?([/?#].*)?$/i;
const CONTROL = /[\0-\x1f\x7f]/;
// INVARIANT: the only spelling of a version that passes; the router of dockerd takes any `/v[0-9.]+` (server.go).
const VERSION = /^1\.([1-9][0-9]{0,2})$/;
const VERSION_LIKE = /^[0-9.]+$/;

/**
 * Takes a request target apart as net/http and the router of dockerd do (url.ParseRequestURI, daemon/server/server.go),
 * refusing every target that has a second reading: dot segments and `//` (redirected there), control characters,
 * raw non-ASCII bytes, fragments, bad escapes, other spellings of a version.
 *
 * @param maximum longest target, in bytes
 * @throws Refusal 400, 414
 */
export function parseTarget(target: string, maximum: number): Target {
  if (target.length > maximum) {
    throw new Refusal(414, 'target-too-long', `the request target is longer than ${maximum} bytes`);
  }
  let origin = target;
  if (target.charCodeAt(0) !== 0x2f) origin = originOf(target);
  let queryAt = -1;
  let escaped = false;
  let suspicious = false;
  let previous = 0;
  for (let index = 0; index < origin.length; index++) {
    const code = origin.charCodeAt(index);
    if (code <= 0x20 || code >= 0x7f || code === 0x23) throw badCharacter(code, index);
    if (queryAt < 0) {
      if (code === 0x3f) queryAt = index;
      else if (code === 0x25) escaped = true;
      // `//`, `/.x`: most are harmless (`/.hidden`), the segments are checked below.
      else if (previous === 0x2f && (code === 0x2f || code === 0x2e)) suspicious = true;
    }
    previous = code;
  }
  const rawPath = queryAt < 0 ? origin : origin.slice(0, queryAt);
  const rawQuery = queryAt < 0 ? '' : origin.slice(queryAt + 1);
  const path = escaped ? decodePath(rawPath) : rawPath;
  if (suspicious || escaped) checkSegments(path);
  if (path.charCodeAt(1) !== 0x76) return { path, apiVersion: '', minor: -1, rawQuery };
  return splitVersion(path, rawQuery);
}

/** The path and query of an absolute-form target; Go serves these by their path alone and ignores the authority. */
function originOf(target: string): string {
  const match = AUTHORITY.exec(target);
  const rest = match?.[1];
  if (rest === undefined || !rest.startsWith('/')) {
    throw new Refusal(
      400,
      'target-form',
      'the request target must be a path such as /v1.41/containers/json, not an authority, an asterisk or another scheme',
    );
  }
  return rest;
}

function badCharacter(code: number, index: number): Refusal {
  if (code === 0x23)
    return new Refusal(400, 'target-fragment', `"#" at offset ${index} of the request target`);
  return new Refusal(
    400,
    'target-character',
    `the request target has the byte 0x${code.toString(16)} at offset ${index}: it must be percent-encoded`,
  );
}

function decodePath(raw: string): string {
  let path: string;
  try {
    path = decodeURIComponent(raw);
  } catch {
    throw new Refusal(
      400,
      'path-encoding',
      'the path has an invalid percent escape, or one that is not UTF-8',
    );
  }
  if (CONTROL.test(path))
    throw new Refusal(400, 'path-character', 'the path has an encoded control character');
  return path;
}

/** `/a/../b` routes as `/b` for some readers, is redirected by dockerd, and is a name for others: refused. */
function checkSegments(path: string): void {
  const segments = path.split('/');
  for (let index = 1; index < segments.length; index++) {
    const segment = segments[index];
    const empty = segment === '' && index < segments.length - 1;
    if (empty || segment === '.' || segment === '..') {
      throw new Refusal(
        400,
        'path-segment',
        'the path has an empty, "." or ".." segment: write it without them',
      );
    }
  }
}

function splitVersion(path: string, rawQuery: string): Target {
  const end = path.indexOf('/', 2);
  const text = path.slice(2, end < 0 ? undefined : end);
  const match = end < 0 ? null : VERSION.exec(text);
  if (match !== null) return { path: path.slice(end), apiVersion: text, minor: Number(match[1]), rawQuery };
  if (end >= 0 && VERSION_LIKE.test(text)) {
    // dockerd routes `/v1.41.0.0/` and `/v01.041/` too: a guard that does not see the prefix would see another path.
    throw new Refusal(
      400,
      'api-version',
      `"/v${text.slice(0, 32)}" is not a canonical API version: write it as /v1.41`,
    );
  }
  return { path, apiVersion: '', minor: -1, rawQuery };
}

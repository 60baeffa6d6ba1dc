import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import type { Client } from '../docker/call.js';

const MAPPED = '::ffff:';

/**
 * Who is connected, from what the guard itself can see: the listener, the peer address and the certificate that
 * the TLS layer verified. INVARIANT: no request header but the bearer token takes part; X-Forwarded-For is
 * something that any client can write.
 */
export function identifyConnection(listener: string, socket: Socket): Client {
  const remote = socket.remoteAddress ?? '';
  return {
    listener,
    address: remote.startsWith(MAPPED) ? remote.slice(MAPPED.length) : remote,
    port: socket.remotePort ?? 0,
    certificate: certificateNames(socket),
    tokenSha256: '',
  };
}

/** The same client with the bearer token of one request: only its hash is kept. */
export function withToken(client: Client, token: string): Client {
  return { ...client, tokenSha256: createHash('sha256').update(token).digest('hex') };
}

function certificateNames(socket: Socket): readonly string[] {
  const tls = socket as Partial<TLSSocket>;
  if (tls.authorized !== true || tls.getPeerCertificate === undefined) return [];
  const certificate = tls.getPeerCertificate();
  if (certificate === null || Object.keys(certificate).length === 0) return [];
  return [...commonNames(certificate), ...alternativeNames(certificate.subjectaltname ?? '')];
}

function commonNames(certificate: PeerCertificate): string[] {
  const names: string | string[] | undefined = certificate.subject?.CN;
  return [names ?? []].flat().map((name) => `CN=${name}`);
}

const KINDS: Readonly<Record<string, string>> = {
  DNS: 'DNS',
  'IP Address': 'IP',
  URI: 'URI',
  email: 'EMAIL',
};

/**
 * Node prints the names as `DNS:a, URI:"quoted, as JSON"`: a name with a comma in it is quoted since
 * CVE-2021-44532. Splitting at commas alone would let one name pose as two.
 */
export function alternativeNames(printed: string): string[] {
  const names: string[] = [];
  for (const [, kind = '', quoted, plain] of printed.matchAll(
    /([^:,]+):(?:("(?:[^"\\]|\\.)*")|([^,]*))(?:, |$)/g,
  )) {
    const name = KINDS[kind];
    if (name !== undefined)
      names.push(`${name}=${quoted === undefined ? plain : String(JSON.parse(quoted))}`);
  }
  return names;
}

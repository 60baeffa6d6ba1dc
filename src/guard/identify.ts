import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { certificateNames } from '../base/certificate-names.js';
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
    certificate: namesOf(socket),
    tokenSha256: '',
  };
}

/** The same client with the bearer token of one request: only its hash is kept. */
export function withToken(client: Client, token: string): Client {
  return { ...client, tokenSha256: createHash('sha256').update(token).digest('hex') };
}

function namesOf(socket: Socket): readonly string[] {
  const tls = socket as Partial<TLSSocket>;
  if (tls.authorized !== true || tls.getPeerCertificate === undefined) return [];
  const certificate = tls.getPeerCertificate();
  if (certificate === null || Object.keys(certificate).length === 0) return [];
  return certificateNames(certificate);
}

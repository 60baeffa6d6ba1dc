import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { FeedsConfig, FeedSource } from '../../src/intel/feed-source.js';

/** A server of feeds that behaves, or misbehaves, as a test says. */
export interface FeedServer {
  /** `http://127.0.0.1:PORT/` */
  readonly url: string;
  /** All requests so far. */
  readonly seen: readonly IncomingMessage[];
  /** What answers from now on. */
  answer(handler: (request: IncomingMessage, response: ServerResponse) => void): void;
}

/** Starts a server on loopback; it ends with the test. `tls`: with a certificate for `localhost`. */
export async function serveFeeds(
  t: Test,
  tls?: { readonly cert: string; readonly key: string },
): Promise<FeedServer> {
  const seen: IncomingMessage[] = [];
  let handler: RequestListener = (_, response) => void response.writeHead(404).end();
  const listener: RequestListener = (request, response) => {
    seen.push(request);
    handler(request, response);
  };
  const server =
    tls === undefined
      ? createServer(listener)
      : createTlsServer({ cert: readFileSync(tls.cert), key: readFileSync(tls.key) }, listener);
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: tls === undefined ? `http://127.0.0.1:${port}/` : `https://localhost:${port}/`,
    seen,
    answer: (next) => void (handler = next),
  };
}

/** A self-signed certificate for `localhost`; undefined where there is no openssl. */
export function makeCertificate(t: Test): { cert: string; key: string } | undefined {
  const directory = mkdtempSync(join(tmpdir(), 'bw-feed-tls-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const cert = join(directory, 'cert.pem');
  const key = join(directory, 'key.pem');
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  try {
    execFileSync('openssl', ['req', ...kind, ...subject, '-keyout', key, '-out', cert], { stdio: 'ignore' });
    return { cert, key };
  } catch {
    return undefined;
  }
}

/** A feed as the config reader would make it. */
export function makeSource(source: Partial<FeedSource> & Pick<FeedSource, 'url'>): FeedSource {
  return {
    name: 'feed',
    type: 'list',
    format: 'auto',
    action: 'block',
    minConfidence: 50,
    confidence: 75,
    ttl: 0,
    refresh: 3_600_000,
    minInterval: 1,
    timeout: 20_000,
    idle: 10_000,
    maxSize: 2 ** 20,
    maxEvents: 100,
    headers: {},
    proxy: null,
    tls: {},
    internal: false,
    allowReserved: false,
    ...source,
  };
}

export function makeConfig(
  state: string,
  sources: readonly FeedSource[],
  rest: Partial<FeedsConfig> = {},
): FeedsConfig {
  return {
    state,
    ownsState: true,
    required: false,
    sources,
    allow: [],
    neverBlock: [],
    warninglists: [],
    limits: { indicators: 1_000_000, memory: 512 * 2 ** 20, time: 120_000 },
    ...rest,
  };
}

/** `count` different addresses, one a line. */
export function addresses(count: number, from = 0x2d000000): string {
  return Array.from({ length: count }, (_, at) => {
    const address = from + at;
    return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
  }).join('\n');
}

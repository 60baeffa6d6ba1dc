import { connect as connectPlain, type Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { readNamedFile } from '../store/named-files.js';

/** Where the engine is. */
export interface EngineAddress {
  /** `unix:///PATH`, `tcp://HOST:PORT` or `tls://HOST:PORT`. */
  readonly url: string;
  /** Files, and the name that the engine's certificate must have. */
  readonly tls?: {
    readonly ca?: string;
    readonly cert?: string;
    readonly key?: string;
    readonly serverName?: string;
  };
}

/** How a socket delivers what it reads: by events (undefined), or into buffers of ours. */
export interface OnRead {
  readonly buffer: () => Buffer;
  /** Gets the buffer, and how many bytes of it were read. False pauses. */
  readonly callback: (bytes: number, buffer: Buffer) => boolean;
}

export interface Dialler {
  /** Opens one socket. `ready` names the event after which it can be used. */
  dial(onread: OnRead | undefined): Socket;
  readonly ready: 'connect' | 'secureConnect';
}

/** Bytes that a socket buffers for a slow daemon before the sender is paused. */
const WRITE_BUFFER = 256 * 1024;

/** A vanished TCP peer is noticed after about this long (ms) even on a stream that is rightly silent for hours. */
const KEEP_ALIVE_DELAY_MS = 30_000;

/** @throws Error when the URL or a TLS file cannot be used. */
export function readAddress({ url, tls }: EngineAddress): Dialler {
  const { protocol, hostname, port, pathname } = new URL(url);
  // Half-close must pass in both directions: `echo x | docker run -i` ends stdin and still reads the output.
  const common = { allowHalfOpen: true, noDelay: true, highWaterMark: WRITE_BUFFER };
  const host = hostname.replace(/^\[|\]$/g, '');
  const probed = { ...common, host, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS };
  switch (protocol) {
    case 'unix:': {
      const path = decodeURIComponent(pathname);
      return { ready: 'connect', dial: (onread) => connectPlain(withRead({ ...common, path }, onread)) };
    }
    case 'tcp:': {
      const where = { ...probed, port: port === '' ? 2375 : Number(port) };
      return { ready: 'connect', dial: (onread) => connectPlain(withRead(where, onread)) };
    }
    case 'tls:': {
      const options: ConnectionOptions = {
        ...probed,
        port: port === '' ? 2376 : Number(port),
        ...(tls?.ca !== undefined && { ca: readNamedFile('upstream.tls.ca', tls.ca) }),
        ...(tls?.cert !== undefined && { cert: readNamedFile('upstream.tls.cert', tls.cert) }),
        ...(tls?.key !== undefined && { key: readNamedFile('upstream.tls.key', tls.key) }),
        ...(tls?.serverName !== undefined && { servername: tls.serverName }),
      };
      // Loaded here: most engines are on a socket, and TLS takes some megabytes.
      const tlsModule = process.getBuiltinModule('node:tls');
      return { ready: 'secureConnect', dial: (onread) => tlsModule.connect(withRead(options, onread)) };
    }
    default:
      throw new Error(`upstream ${url}: the scheme must be unix, tcp or tls`);
  }
}

function withRead<T extends object>(options: T, onread: OnRead | undefined): T {
  return onread === undefined ? options : { ...options, onread };
}

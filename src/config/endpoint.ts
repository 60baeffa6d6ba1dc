import { parseAddress } from '../base/address.js';

/** Where to listen or connect: one parsed endpoint URL. */
export type Endpoint =
  | { readonly scheme: 'unix'; readonly path: string }
  | { readonly scheme: 'tcp' | 'tls'; readonly host: string; readonly port: number };

const FORMS = 'unix:///PATH, tcp://HOST:PORT or tls://HOST:PORT';

/** Reads an endpoint URL. IPv6 hosts stand in brackets; the port is required. @returns a message when it is none. */
export function parseEndpoint(url: string): Endpoint | string {
  const unix = /^unix:\/\/(.*)$/s.exec(url);
  if (unix !== null) {
    const path = unix[1]!;
    if (!path.startsWith('/'))
      return `a unix URL needs an absolute path (three slashes): unix:///run/docker.sock`;
    if (/[\0?#%]/.test(path)) return 'the socket path must not contain ?, #, % or NUL';
    // sun_path holds 108 bytes with its NUL (unix(7)); a longer path would be cut by the kernel's interface.
    if (path.length > 107) return `the socket path has ${path.length} characters; at most 107 are possible`;
    return { scheme: 'unix', path };
  }
  const net = /^(tcp|tls):\/\/(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})\/?$/.exec(url);
  if (net === null) return `expected ${FORMS}`;
  const host = net[2]!.replace(/^\[|\]$/g, '');
  const port = Number(net[3]);
  if (port > 65_535) return `port ${port} is above 65535`;
  if (host.includes(':') && parseAddress(host) === undefined) return `${host} is not an IPv6 address`;
  if (/^[\d.]+$/.test(host) && parseAddress(host) === undefined) return `${host} is not an IPv4 address`;
  return { scheme: net[1] as 'tcp' | 'tls', host, port };
}

/** Can only this host reach it? Names other than `localhost` may resolve to anything. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost') return true;
  const address = parseAddress(host);
  if (address === undefined) return false;
  return address.family === 4 ? address.value >>> 24 === 127 : address.value === 1n;
}

/** An address and a port. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/**
 * Reads `10.0.0.2:53` or `[2001:db8::1]:53`; with a default port also the bare address, an IPv6 one without brackets.
 *
 * @returns a message when it is none.
 */
export function parseHostPort(text: string, port?: number): HostPort | string {
  if (port !== undefined && parseAddress(text) !== undefined) return { host: text, port };
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([\d.]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const given = Number(match?.[3]);
  if (parseAddress(host) === undefined || given < 1 || given > 65_535) {
    return `expected ADDRESS:PORT${port === undefined ? '' : ' or ADDRESS'}, IPv6 in brackets`;
  }
  return { host, port: given };
}

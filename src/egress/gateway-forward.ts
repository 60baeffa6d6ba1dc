import { createProxyServer } from 'http-proxy';
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { ignoreErrors } from '../base/socket-errors.js';
import type { Target } from './gateway-target.js';

/** A connection without a byte in either direction is closed after this time. */
export const IDLE_TIMEOUT_MS = 300_000;

/**
 * Meant for the next hop alone (RFC 9110 section 7.6.1), or for us. `Expect` is answered here: the body is sent on at
 * once, and http-proxy does not announce a request that has it (`proxyReq`).
 */
const HOP = new Set([
  ...['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te'],
  ...['trailer', 'transfer-encoding', 'upgrade', 'host', 'expect'],
]);

/** Headers that go on, as name and value by turns; those that `Connection` names stay too. */
function endToEnd({ rawHeaders }: IncomingMessage): string[] {
  const named = new Set<string>();
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]!.toLowerCase() !== 'connection') continue;
    for (const token of rawHeaders[at + 1]!.split(',')) named.add(token.trim().toLowerCase());
  }
  const kept: string[] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!.toLowerCase();
    // `Connection: content-length` would make the next hop read another body than we wrote.
    if (HOP.has(name) || (named.has(name) && name !== 'content-length')) continue;
    kept.push(rawHeaders[at]!, rawHeaders[at + 1]!);
  }
  return kept;
}

/** As node's `IncomingMessage.headers`, but all values of a name and its spelling are kept. */
function headersToSend(request: IncomingMessage): IncomingMessage['headers'] {
  const list = endToEnd(request);
  const names = new Map<string, string>();
  const headers: Record<string, string | string[]> = Object.create(null) as Record<string, string | string[]>;
  for (let at = 0; at < list.length; at += 2) {
    const name = names.get(list[at]!.toLowerCase());
    if (name === undefined) {
      names.set(list[at]!.toLowerCase(), list[at]!);
      headers[list[at]!] = list[at + 1]!;
    } else {
      headers[name] = [headers[name]!, list[at + 1]!].flat();
    }
  }
  // Said for every method: without it node would write the body of a GET without any framing.
  if (request.rawHeaders.some((name, at) => at % 2 === 0 && name.toLowerCase() === 'transfer-encoding'))
    headers['Transfer-Encoding'] = 'chunked';
  return headers;
}

/**
 * Forwards requests to addresses that were checked, by http-proxy: it gets the address as its target and the name as
 * `Host`, so it resolves nothing. Some of what it does by default is unsafe for a guard and is done here:
 *
 * - It writes `Content-Length: 0` in front of the chunks of a DELETE or OPTIONS, which makes a second request of them.
 *   Headers are made after it has done so, from what the client sent.
 * - It joins repeated headers, passes on what is meant for the next hop alone, and never closes an answer that the server
 *   broke off. Answers are written here (`selfHandleResponse`).
 * - An unasked change of protocol by the server would leave the client waiting.
 */
export class Forwarder {
  readonly #proxy = createProxyServer({ toProxy: true, selfHandleResponse: true });

  constructor() {
    // It would hand requests to `fetch`, which follows redirects to addresses that were not checked.
    delete process.env['FORCE_FETCH_PATH'];
    this.#proxy.before('web', 'stream', (request: IncomingMessage) => {
      request.headers = headersToSend(request);
    });
    this.#proxy.on('proxyReq', watchRequest);
    this.#proxy.on('proxyRes', answer);
  }

  /**
   * @param address where to connect
   * @param onError the server cannot be reached, or breaks off; it may come after the answer has begun, and twice
   */
  send(
    request: IncomingMessage,
    response: ServerResponse,
    target: Target,
    address: string,
    onError: (error: Error) => void,
  ): void {
    request.url = target.path;
    const options = {
      target: { protocol: 'http:', host: address, port: target.port },
      headers: { Host: target.authority },
    };
    this.#proxy.web(request, response, options, onError);
  }
}

function watchRequest(upstream: ClientRequest, _request: IncomingMessage, response: ServerResponse): void {
  upstream.setTimeout(IDLE_TIMEOUT_MS, () => upstream.destroy(new Error('no byte for five minutes')));
  upstream.on('upgrade', (_answer, socket) => {
    ignoreErrors(socket);
    socket.destroy();
    response.destroy();
  });
  response.on('close', () => upstream.destroy());
}

function answer(from: IncomingMessage, request: IncomingMessage, response: ServerResponse): void {
  const { statusCode = 0, statusMessage = '' } = from;
  if (response.headersSent) return void from.destroy();
  try {
    if (statusCode < 200) throw new Error(`status ${statusCode}`);
    // Node's parser lets control characters in a reason pass, and its writer throws.
    response.writeHead(statusCode, statusMessage.replace(/[^\t\x20-\x7e]/g, '?'), endToEnd(from));
  } catch {
    from.destroy();
    response.writeHead(502, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' });
    response.end('breakwater: the server answers with something that is no HTTP\n');
    request.resume();
    return;
  }
  from.on('error', () => response.destroy());
  from.on('aborted', () => response.destroy());
  from.pipe(response);
}

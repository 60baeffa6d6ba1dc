import { EnvHttpProxyAgent, request, type Dispatcher } from 'undici';
import { readSecret, readTls, withoutSecrets } from './secret.js';
import type { Secret, SinkConfig } from './sink.js';

/** The longest that a Retry-After is honoured. */
const MAX_RETRY_AFTER_MS = 3_600_000;
/** Bytes of one answer: it names each record at most. */
const MAX_ANSWER_BYTES = 16 * 2 ** 20;

export interface HttpAnswer {
  readonly status: number;
  /** Without any of the secrets in use. */
  readonly text: string;
  /** Milliseconds from now; 0 where there is none. */
  readonly retryAfter: number;
}

/** Posts to a receiver. Certificates are always verified, redirects are not followed: the token stays with its receiver. */
export class HttpClient {
  readonly #config: SinkConfig;
  #agent: Dispatcher | undefined;
  /** Values in use: a receiver may repeat what it was sent, and none of it may get into the log. */
  readonly #secrets = new Map<string, string>();

  constructor(config: SinkConfig) {
    this.#config = config;
  }

  /** @throws Error when the secret cannot be read. */
  async readSecret(from: Secret, name: string): Promise<string> {
    const value = await readSecret(from, name);
    this.#secrets.set(name, value);
    return value;
  }

  /** A secret that was not read, but received. */
  addSecret(name: string, value: string): void {
    this.#secrets.set(name, value);
  }

  /** @throws Error when there is no whole answer within the time-out. */
  async post(
    to: URL,
    headers: Readonly<Record<string, string>>,
    body: string,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const dispatcher = await this.#connect();
    const late = AbortSignal.timeout(this.#config.timeout);
    try {
      const answer = await request(to, {
        method: 'POST',
        dispatcher,
        signal: AbortSignal.any([late, signal]),
        headers: { 'user-agent': 'breakwater', ...headers },
        body,
      });
      const text = await readText(answer.body);
      return {
        status: answer.statusCode,
        text: withoutSecrets(text, this.#secrets.values()),
        retryAfter: retryAfter(String(answer.headers['retry-after'] ?? '')),
      };
    } catch (error) {
      if (late.aborted) throw new Error(`no answer within "timeout", ${this.#config.timeout} ms`);
      throw error;
    }
  }

  /** Closes all connections; the next post opens new ones, as the CA and the certificate may be new by then. */
  reset(): void {
    const old = this.#agent;
    this.#agent = undefined;
    old?.destroy().catch(() => undefined);
  }

  async close(): Promise<void> {
    await this.#agent?.destroy();
  }

  async #connect(): Promise<Dispatcher> {
    const { tls: files, timeout, proxy } = this.#config;
    const tls = await readTls(files);
    return (this.#agent ??= new EnvHttpProxyAgent({
      connect: { ...tls, timeout },
      requestTls: tls,
      proxyTls: { rejectUnauthorized: true, ...(tls.ca === undefined ? {} : { ca: tls.ca }) },
      // Proxies open tunnels to ports of TLS alone, as a rule: what is plain goes as a plain request.
      proxyTunnel: false,
      ...(proxy === undefined ? {} : { httpProxy: proxy ?? '', httpsProxy: proxy ?? '' }),
      ...(typeof proxy === 'string' ? { noProxy: '' } : {}),
    }));
  }
}

async function readText(body: AsyncIterable<unknown>): Promise<string> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of body as AsyncIterable<Buffer>) {
    pieces.push(piece);
    length += piece.length;
    if (length > MAX_ANSWER_BYTES) throw new Error(`answered more than ${MAX_ANSWER_BYTES} bytes`);
  }
  return Buffer.concat(pieces).toString('utf8');
}

/** Retry-After as milliseconds from now (RFC 9110, 10.2.3); 0 where there is none. */
function retryAfter(value: string): number {
  const ms = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS) : 0;
}

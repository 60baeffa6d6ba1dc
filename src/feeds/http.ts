import { readFile } from 'node:fs/promises';
import { Transform, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { callbackify } from 'node:util';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { EnvHttpProxyAgent, request, type Dispatcher } from 'undici';
import { parseUrl } from '../intel/canonical-host.js';
import { FeedError } from './feed-error.js';
import { guardedLookup, refuseUrl, type Reach } from './destination.js';
import type { FeedSource } from '../intel/feed-source.js';

/** One refresh of one feed over HTTP: a time, a number of bytes, a set of credentials for all of its requests. */
export interface HttpSession {
  /**
   * @param conditions headers that make the answer 304 where there is nothing new.
   * @throws FeedError for everything but 200 and 304.
   */
  get(url: URL, conditions?: Readonly<Record<string, string>>): Promise<HttpAnswer>;
  close(): Promise<void>;
}

export interface HttpAnswer {
  readonly unchanged: boolean;
  readonly header: (name: string) => string;
  /** Hands the body, its content encoding undone, to `sink`, which throws to stop it. */
  readBody(sink: (chunk: Buffer) => void | Promise<void>): Promise<void>;
}

const MAX_REDIRECTS = 3;
/** The longest Retry-After that is honoured. */
const MAX_RETRY_AFTER_MS = 86_400_000;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/**
 * Opens a session. Certificates are always verified, whatever the environment says.
 *
 * @param onBytes called with the number of decoded bytes that arrived.
 * @throws FeedError when a header or the CA cannot be read.
 */
export async function openHttpSession(
  source: FeedSource,
  onBytes: (bytes: number) => void,
): Promise<HttpSession> {
  const reach: Reach = { host: new URL(source.url).hostname, internal: source.internal };
  const secrets = await readHeaders(source);
  return new AgentSession(source, await openAgent(source, reach), reach, secrets, onBytes);
}

type Conditions = Readonly<Record<string, string>>;

class AgentSession implements HttpSession {
  readonly #source: FeedSource;
  readonly #agent: Dispatcher;
  readonly #reach: Reach;
  /** Headers that only the feed's own server gets. */
  readonly #secrets: Readonly<Record<string, string>>;
  readonly #onBytes: (bytes: number) => void;
  readonly #signal: AbortSignal;
  // Bytes of all answers of the session.
  #sent = 0;
  #decoded = 0;

  constructor(
    source: FeedSource,
    agent: Dispatcher,
    reach: Reach,
    secrets: Readonly<Record<string, string>>,
    onBytes: (bytes: number) => void,
  ) {
    this.#source = source;
    this.#agent = agent;
    this.#reach = reach;
    this.#secrets = secrets;
    this.#onBytes = onBytes;
    this.#signal = AbortSignal.timeout(source.timeout);
  }

  async get(url: URL, conditions: Conditions = {}): Promise<HttpAnswer> {
    const answer = await this.#follow(url, conditions).catch((error: unknown) => {
      throw readable(error, this.#source);
    });
    const header = (name: string): string => firstValue(answer.headers[name]);
    if (answer.statusCode === 304) {
      drop(answer);
      return { unchanged: true, header, readBody: async () => undefined };
    }
    if (answer.statusCode !== 200) {
      drop(answer);
      const { statusCode } = answer;
      throw new FeedError(describeStatus(statusCode), retryAfter(header('retry-after')), statusCode);
    }
    if (Number(header('content-length')) > this.#source.maxSize) {
      drop(answer);
      throw this.#tooLarge();
    }
    return { unchanged: false, header, readBody: (sink) => this.#readBody(answer, sink) };
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }

  async #follow(start: URL, conditions: Conditions): Promise<Dispatcher.ResponseData> {
    let url = start;
    for (let hops = 0; ; hops++) {
      const refusal = refuseUrl(url, this.#reach);
      if (refusal !== undefined) throw new FeedError(hops === 0 ? refusal : `redirected: ${refusal}`);
      const answer = await this.#request(url, conditions);
      if (!REDIRECTS.has(answer.statusCode)) return answer;
      drop(answer);
      const location = firstValue(answer.headers['location']);
      if (hops >= MAX_REDIRECTS) throw new FeedError(`redirected more than ${MAX_REDIRECTS} times`);
      const next = location === '' ? undefined : parseUrl(location, url);
      if (next === undefined) throw new FeedError('redirected to nowhere');
      if (next.protocol !== 'https:' && next.protocol !== url.protocol) {
        throw new FeedError(`redirected from ${url.protocol}// to ${next.protocol}//`);
      }
      next.username = '';
      next.password = '';
      url = next;
    }
  }

  #request(url: URL, conditions: Conditions): Promise<Dispatcher.ResponseData> {
    const { url: own, idle } = this.#source;
    return request(url, {
      dispatcher: this.#agent,
      signal: this.#signal,
      headersTimeout: idle,
      bodyTimeout: idle,
      headers: {
        'user-agent': 'breakwater',
        accept: '*/*',
        'accept-encoding': 'gzip, br',
        ...conditions,
        // The attack: a redirect to a server of the attacker's, who then has the key.
        ...(url.origin === new URL(own).origin ? this.#secrets : {}),
      },
    });
  }

  async #readBody(
    answer: Dispatcher.ResponseData,
    sink: (chunk: Buffer) => void | Promise<void>,
  ): Promise<void> {
    const { maxSize } = this.#source;
    const count = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        this.#sent += chunk.length;
        done(this.#sent > maxSize ? this.#tooLarge() : null, chunk);
      },
    });
    const stages = decoders(firstValue(answer.headers['content-encoding']));
    const take = callbackify(async (chunk: Buffer): Promise<void> => {
      this.#decoded += chunk.length;
      this.#onBytes(chunk.length);
      if (this.#decoded > maxSize) throw this.#tooLarge();
      await sink(chunk);
    });
    const end = new Writable({ write: (chunk: Buffer, _encoding, done) => take(chunk, done) });
    try {
      await pipeline([answer.body, count, ...stages, end]);
    } catch (error) {
      throw readable(error, this.#source);
    }
  }

  #tooLarge(): FeedError {
    return new FeedError(`larger than maxSize, ${this.#source.maxSize} bytes`);
  }
}

const drop = (answer: Dispatcher.ResponseData): void =>
  void answer.body.on('error', () => undefined).destroy();

const firstValue = (value: string | string[] | undefined): string =>
  (Array.isArray(value) ? value[0] : value) ?? '';

async function openAgent(source: FeedSource, reach: Reach): Promise<Dispatcher> {
  const ca = source.tls.ca === undefined ? undefined : await readNamed(source.tls.ca, 'the CA');
  // Said here, so that NODE_TLS_REJECT_UNAUTHORIZED=0 in the environment does not count.
  const tls = { rejectUnauthorized: true, ...(ca === undefined ? {} : { ca }) };
  return new EnvHttpProxyAgent({
    connect: { ...tls, lookup: guardedLookup(reach), timeout: Math.min(source.idle, 30_000) },
    requestTls: tls,
    // An empty text is no proxy; undefined is what the environment says.
    ...(source.proxy === undefined ? {} : { httpProxy: source.proxy ?? '', httpsProxy: source.proxy ?? '' }),
    ...(typeof source.proxy === 'string' ? { noProxy: '' } : {}),
  });
}

async function readHeaders(source: FeedSource): Promise<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (const [name, from] of Object.entries(source.headers)) {
    const value =
      'text' in from
        ? from.text
        : 'env' in from
          ? process.env[from.env]
          : (await readNamed(from.file, `the header ${name}`)).trim();
    if (value === undefined) {
      throw new FeedError(`header ${name}: there is no ${'env' in from ? from.env : ''} in the environment`);
    }
    // The value stays out of the message: it is a secret.
    if (!/^[\t\x20-\x7e\x80-\xff]+$/.test(value)) {
      throw new FeedError(`header ${name}: its value is empty, or cannot stand in a header`);
    }
    headers[name.toLowerCase()] = value;
  }
  return headers;
}

async function readNamed(path: string, what: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: Error) => {
    throw new FeedError(`${what} cannot be read: ${error.message}`);
  });
}

/** Streams that undo a Content-Encoding, last one first (RFC 9110, 8.4). */
function decoders(encoding: string): Transform[] {
  const names = encoding
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '' && name !== 'identity');
  if (names.length > 2) throw new FeedError('packed more than twice');
  return names.reverse().map((name) => {
    if (name === 'gzip' || name === 'x-gzip') return createGunzip();
    if (name === 'br') return createBrotliDecompress();
    if (name === 'deflate') return createInflate();
    throw new FeedError(`the content encoding ${JSON.stringify(name.slice(0, 20))} is not known`);
  });
}

function describeStatus(status: number): string {
  if (status === 401 || status === 403) return `answered ${status}: it wants a key; see "headers"`;
  if (status === 429) return 'answered 429: asked too often';
  return `answered ${status}`;
}

/** Retry-After as milliseconds from now (RFC 9110, 10.2.3); 0 where there is none. */
function retryAfter(value: string): number {
  const ms = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS) : 0;
}

const REASONS: Readonly<Record<string, string>> = {
  UND_ERR_HEADERS_TIMEOUT: 'no answer within "idle"',
  UND_ERR_BODY_TIMEOUT: 'nothing more came within "idle"',
  UND_ERR_CONNECT_TIMEOUT: 'no connection within "idle"',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'the answer was cut short',
  UND_ERR_SOCKET: 'the connection broke',
  ECONNRESET: 'the connection broke',
  ERR_STREAM_PREMATURE_CLOSE: 'the answer was cut short',
  Z_BUF_ERROR: 'the packed answer was cut short',
  Z_DATA_ERROR: 'the packed answer is damaged',
};

function readable(error: unknown, source: FeedSource): FeedError {
  if (error instanceof FeedError) return error;
  const { name, code, message } = error as NodeJS.ErrnoException;
  if (name === 'TimeoutError') return new FeedError(`took longer than "timeout", ${source.timeout} ms`);
  const cause = (error as Error).cause;
  if (cause instanceof FeedError) return cause;
  const reason = REASONS[code ?? ''];
  return new FeedError(
    reason ?? (message === '' ? String(code ?? name) : message.split('\n', 1)[0]!.slice(0, 200)),
  );
}

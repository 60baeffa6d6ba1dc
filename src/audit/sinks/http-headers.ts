import type { HttpSinkType } from '../../base/audit-names.js';
import type { HttpClient } from './http-client.js';
import { HTTP_KINDS, parse } from './http-kinds.js';
import { RetryLater, type SinkConfig } from './sink.js';

/** A token is fetched anew so long before its end. */
const TOKEN_MARGIN_MS = 60_000;

/** The headers of posts to a receiver, its credentials among them. */
export class HttpHeaders {
  readonly #config: SinkConfig;
  readonly #type: HttpSinkType;
  readonly #client: HttpClient;
  #bearer: { readonly token: string; readonly until: number } | undefined;

  constructor(config: SinkConfig, type: HttpSinkType, client: HttpClient) {
    this.#config = config;
    this.#type = type;
    this.#client = client;
  }

  /** @throws Error when a credential cannot be read or fetched. */
  async read(signal: AbortSignal): Promise<Record<string, string>> {
    const { body, headers: configured, token, oauth } = this.#config;
    const kind = HTTP_KINDS[this.#type];
    const isLines = this.#type === 'webhook' && body === 'ndjson';
    const headers: Record<string, string> = {
      'content-type': isLines ? 'application/x-ndjson' : kind.contentType,
    };
    for (const [name, from] of Object.entries(configured)) {
      headers[name.toLowerCase()] = await this.#client.readSecret(from, `header ${name}`);
    }
    if (token !== undefined) {
      headers['authorization'] = `${kind.scheme} ${await this.#client.readSecret(token, 'token')}`;
    } else if (oauth !== undefined) {
      headers['authorization'] = `Bearer ${await this.#fetchToken(oauth, signal)}`;
    }
    return headers;
  }

  /** The receiver did not accept the token: the next post fetches another one. */
  dropToken(): void {
    this.#bearer = undefined;
  }

  /** A token for client credentials (RFC 6749, 4.4), kept until shortly before its end. */
  async #fetchToken(
    { url, id, secret, scope }: NonNullable<SinkConfig['oauth']>,
    signal: AbortSignal,
  ): Promise<string> {
    if (this.#bearer !== undefined && Date.now() < this.#bearer.until) return this.#bearer.token;
    const form = new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: id,
      client_secret: await this.#client.readSecret(secret, 'oauth.secret'),
      scope,
    });
    const endpoint = new URL(url);
    const type = { 'content-type': 'application/x-www-form-urlencoded' };
    const { status, text, retryAfter } = await this.#client.post(endpoint, type, form.toString(), signal);
    if (status !== 200) throw new RetryLater(`no token: ${endpoint.host} answered ${status}`, retryAfter);
    const { access_token: token, expires_in: seconds } = membersOf(text);
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
      throw new Error(`no token: the answer of ${endpoint.host} holds none`);
    }
    this.#client.addSecret('bearer', token);
    const lifetime = Math.max(0, (Number(seconds) || 0) * 1000 - TOKEN_MARGIN_MS);
    this.#bearer = { token, until: Date.now() + lifetime };
    return token;
  }
}

/** The answer of a token endpoint. It goes into no message: there may be a token in it. */
function membersOf(text: string): Readonly<Record<string, unknown>> {
  try {
    return parse(text);
  } catch {
    return {};
  }
}

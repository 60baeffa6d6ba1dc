import type { HttpSinkType } from '../../base/audit-names.js';
import { Acknowledgements } from './acknowledgements.js';
import { HttpBatch } from './http-batch.js';
import { HttpClient, type HttpAnswer } from './http-client.js';
import { HttpHeaders } from './http-headers.js';
import { HTTP_KINDS, type HttpKind } from './http-kinds.js';
import type { Outcome, Outgoing, SinkConfig, Transport } from './sink.js';

/** Messages as posts. */
export function openHttp(config: SinkConfig, type: HttpSinkType, host: string): Transport {
  const transport = new HttpTransport(config, type, host);
  return config.acknowledge ? new AcknowledgedTransport(transport, config.timeout) : transport;
}

class HttpTransport implements Transport {
  readonly url: URL;
  readonly #config: SinkConfig;
  readonly #kind: HttpKind;
  readonly #host: string;
  readonly #client: HttpClient;
  readonly #headers: HttpHeaders;
  /** Where posts are acknowledged. */
  acknowledgements: Acknowledgements | undefined;

  constructor(config: SinkConfig, type: HttpSinkType, host: string) {
    this.#config = config;
    this.#kind = HTTP_KINDS[type];
    this.#host = host;
    this.url = new URL(config.url);
    if (this.url.pathname === '/' && this.#kind.path !== '') this.url.pathname = this.#kind.path;
    this.#client = new HttpClient(config);
    this.#headers = new HttpHeaders(config, type, this.#client);
  }

  send(messages: readonly Outgoing[], signal: AbortSignal): Promise<Outcome> {
    return new HttpBatch({
      kind: this.#kind,
      body: (part) => this.#kind.body(part, this.#config, this.#host),
      post: (body) => this.post(this.url, body, signal),
      onTaken: (answer) => this.acknowledgements?.posted(answer),
      onUnauthorized: () => this.#headers.dropToken(),
    }).deliver(messages);
  }

  async post(to: URL, body: string, signal: AbortSignal): Promise<HttpAnswer> {
    const headers = await this.#headers.read(signal);
    const { acknowledgements } = this;
    if (acknowledgements !== undefined) headers['x-splunk-request-channel'] = acknowledgements.channel;
    return this.#client.post(to, headers, body, signal);
  }

  reset(): void {
    this.#client.reset();
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}

/** Splunk's indexer acknowledgement: what was posted has arrived when the indexers say so. */
class AcknowledgedTransport implements Transport {
  readonly #inner: HttpTransport;
  readonly #acknowledgements: Acknowledgements;

  constructor(inner: HttpTransport, timeout: number) {
    this.#inner = inner;
    this.#acknowledgements = new Acknowledgements(timeout, (channel, acks, signal) => {
      const to = new URL(`/services/collector/ack?channel=${channel}`, inner.url);
      return inner.post(to, JSON.stringify({ acks }), signal);
    });
    inner.acknowledgements = this.#acknowledgements;
  }

  send(messages: readonly Outgoing[], signal: AbortSignal): Promise<Outcome> {
    return this.#inner.send(messages, signal);
  }

  confirm(signal: AbortSignal): Promise<void> {
    return this.#acknowledgements.confirm(signal);
  }

  reset(): void {
    this.#acknowledgements.reset();
    this.#inner.reset();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

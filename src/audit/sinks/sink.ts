import type { RecordFormat, SinkType } from '../../base/audit-names.js';

/** A value that is secret mostly: as it stands, from the environment, or from a file. */
export type Secret = { readonly text: string } | { readonly env: string } | { readonly file: string };

/** Paths of PEM files. */
export interface SinkTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** A receiver of the audit journal. Times in milliseconds. */
export interface SinkConfig {
  /** Unique, usable in a file name. */
  readonly name: string;
  readonly type: SinkType;
  /** `udp://`, `tcp://` or `tls://HOST:PORT`; `http(s)://…`; a path for `file`; empty for `stdout`. */
  readonly url: string;
  readonly format: RecordFormat;
  /** Names of the events that it gets; undefined: all. */
  readonly events?: readonly string[] | undefined;
  readonly headers: Readonly<Record<string, Secret>>;
  readonly token?: Secret;
  /** Client credentials (RFC 6749, 4.4) that a token is fetched with. */
  readonly oauth?: {
    readonly url: string;
    readonly id: string;
    readonly secret: Secret;
    readonly scope: string;
  };
  readonly tls: SinkTls;
  /** Undefined: what the environment says; null: none. */
  readonly proxy?: string | null;
  readonly batch: { readonly records: number; readonly bytes: number; readonly interval: number };
  /** The receiver has to answer within this time. */
  readonly timeout: number;
  /** Between two tries: doubled from `min` to `max`. */
  readonly retry: { readonly min: number; readonly max: number };
  /**
   * After so many records or so long a confirmation is asked for, from receivers that confirm several batches at once.
   * `settle`: a receiver over TCP or TLS has to live on for so long after it, that what it holds in memory gets out.
   */
  readonly confirm: { readonly records: number; readonly interval: number; readonly settle: number };
  /** syslog facility, 0 to 23. */
  readonly facility: number;
  /** Of Elasticsearch and Splunk; empty: the receiver's own. */
  readonly index: string;
  /** Splunk: wait until the indexers have it. */
  readonly acknowledge: boolean;
  /** Of Loki. */
  readonly labels: Readonly<Record<string, string>>;
  /** Of a webhook: one JSON array, or a line for each record. */
  readonly body: 'array' | 'ndjson';
}

/** A message on its way. */
export interface Outgoing {
  readonly seq: number;
  readonly id: string;
  /** Milliseconds since 1970; 0 where the record has none. */
  readonly time: number;
  /** 0 to 10. */
  readonly severity: number;
  /** One line. */
  readonly text: string;
}

/** What became of messages whose sending did not fail as a whole. */
export interface Outcome {
  /** Will never be taken, and why: they are put aside. */
  readonly refused: ReadonlyMap<Outgoing, string>;
  /** Not taken this time, and why. */
  readonly again: ReadonlyMap<Outgoing, string>;
  /** So many were not taken, it is not known which (OTLP). */
  readonly unnamed?: { readonly count: number; readonly reason: string };
  /** Milliseconds that the receiver asked to be left alone. */
  readonly retryAfter?: number;
}

export const TAKEN: Outcome = { refused: new Map(), again: new Map() };

/** One way to a receiver. All of it rejects with an Error that says what was wrong: all that is not confirmed is sent again. */
export interface Transport {
  /** Sends messages in order. Without `confirm` they have arrived when this resolves. */
  send(messages: readonly Outgoing[], signal: AbortSignal): Promise<Outcome>;
  /** Resolves when everything that was sent before has arrived. Meanwhile more may be sent, and confirmed after it. */
  confirm?(signal: AbortSignal): Promise<void>;
  /** After a failure: the next `send` begins anew. */
  reset(): void;
  close(): Promise<void>;
}

/** The receiver wants to be left alone for a while (milliseconds). */
export class RetryLater extends Error {
  readonly retryAfter: number;
  constructor(message: string, retryAfter: number) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

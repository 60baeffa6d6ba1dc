import type { FormatName } from './formats/format.js';
import type { IndicatorAction } from './indicator.js';

/** Where the value of a request header comes from; environment and files are read anew for each request. */
export type FeedHeader = { readonly text: string } | { readonly env: string } | { readonly file: string };

/** `list`: one document; `taxii`: a TAXII 2.1 collection; `misp`: a manifest with one document per event. */
export type FeedType = 'list' | 'taxii' | 'misp';

/** One feed. Times in milliseconds, sizes in bytes, paths absolute. */
export interface FeedSource {
  /** Unique; hits, log and audit lines name it. */
  readonly name: string;
  /** `file:///PATH`, `https://…` or `http://…`. */
  readonly url: string;
  readonly type: FeedType;
  /** Of a list. */
  readonly format: FormatName | 'auto';
  readonly action: IndicatorAction;
  /** Indicators below it are left out. */
  readonly minConfidence: number;
  /** Of indicators for which the feed states none. */
  readonly confidence: number;
  /** From when an indicator was last seen, or else first imported; 0: as long as the feed lists it. */
  readonly ttl: number;
  readonly refresh: number;
  /** The feed is never fetched more often, also not by hand. */
  readonly minInterval: number;
  /** One whole refresh. */
  readonly timeout: number;
  /** Without a byte from the server. */
  readonly idle: number;
  /** What a refresh may bring, unpacked; as it is sent, too. */
  readonly maxSize: number;
  /** Events of a MISP feed that are read: the newest. */
  readonly maxEvents: number;
  readonly headers: Readonly<Record<string, FeedHeader>>;
  /** URL of an HTTP proxy; null: none; undefined: what the environment says (HTTPS_PROXY, HTTP_PROXY, NO_PROXY). */
  readonly proxy: string | null | undefined;
  readonly tls: { readonly ca?: string };
  /** The host may have a private address. */
  readonly internal: boolean;
  /** A list one wrote oneself may list reserved addresses. */
  readonly allowReserved: boolean;
}

export interface FeedsConfig {
  /** Directory of the last good copies and of the index, `index.bin`. */
  readonly state: string;
  /**
   * The config file is about feeds, or about the outbound side, which reads the index. Otherwise the directory is the
   * default, where the index of another guard may lie, and is not touched.
   */
  readonly ownsState: boolean;
  /** Not ready before every feed has data. */
  readonly required: boolean;
  readonly sources: readonly FeedSource[];
  /** Addresses, prefixes, domains (with subdomains), URLs and hashes that no feed can list. */
  readonly allow: readonly string[];
  /** In addition to the built-in list: what must stay reachable even if a feed lists it. */
  readonly neverBlock: readonly string[];
  /** Paths of MISP warninglists: what they list is only alerted on. */
  readonly warninglists: readonly string[];
  readonly limits: {
    /** Indicators of one feed. */
    readonly indicators: number;
    /** Heap of the process that reads feeds and builds the index, in bytes. */
    readonly memory: number;
    /** Longest time for reading one feed, or building the index (ms). */
    readonly time: number;
  };
}

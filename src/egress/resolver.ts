import { formatIpv4, formatIpv6 } from '../base/address.js';
import { LRUCache } from 'lru-cache';
import type { Hit, IndicatorIndex } from '../intel/indicator.js';
import { hitOfAddress } from './hits.js';
import { makeQuery, RCODE, writeRefusal, writeResponse, type Query, type Response } from './dns-message.js';
import { TYPE } from './dns-record.js';
import { queryUpstream, type Upstream } from './dns-upstream.js';

/** Why a name is not resolved, or that it is listed for alerts: what was found, and the address that it leads to. */
export interface Finding {
  readonly hit: Hit;
  /** The name that was asked for or that the answer leads to. */
  readonly name: string;
  /** Empty where the name itself is listed. */
  readonly address: string;
}

/** What names lead to. */
export interface Resolver {
  /** The answer for one client, ready to be sent. Never rejects: without a resolver it is SERVFAIL. */
  readonly answer: (query: Query, client: string) => Promise<Buffer>;
  /**
   * The addresses of a name, and what is listed of all that it leads to.
   *
   * @throws Error when no resolver answers.
   */
  readonly lookUp: (
    name: string,
  ) => Promise<{ readonly addresses: readonly string[]; readonly findings: readonly Finding[] }>;
}

export interface ResolverOptions {
  readonly upstream: readonly Upstream[];
  readonly mode: 'block' | 'alert';
  /** Bytes of answers that are kept. */
  readonly cache: number;
  index(): IndicatorIndex;
  /** May the client ask for the name at all? (Networks with default deny.) */
  permits(client: string, name: string): boolean;
  /** Called, and waited for, before an answer with addresses goes to the client; with seconds. */
  onAnswer(client: string, name: string, addresses: readonly string[], ttl: number): Promise<void>;
  onFinding(client: string, finding: Finding, refused: boolean): void;
  onForbidden(client: string, name: string): void;
}

/** Shortest time in the cache: a name with a TTL of a second must not cause a query each time. */
const MIN_TTL_SECONDS = 5;
/** Longest time in the cache (RFC 8767 has a day; whether an address is listed is checked for each answer). */
const MAX_TTL_SECONDS = 3_600;
/** Time in the cache of failures, and of missing names without an SOA record. */
const NEGATIVE_TTL_SECONDS = 10;
/** Queries in progress at once. */
const MAX_WAITING = 1_024;

interface CachedAnswer {
  readonly response: Response;
  readonly at: number;
}

export function openResolver(options: ResolverOptions): Resolver {
  const cache = new LRUCache<string, CachedAnswer>({
    maxSize: options.cache,
    // The letters of the key, and what the reading of the answer takes beside its bytes.
    sizeCalculation: ({ response }, key) => response.bytes.length * 3 + key.length * 2 + 256,
  });
  const waiting = new Map<string, Promise<CachedAnswer>>();

  const resolve = (query: Query): Promise<CachedAnswer> => {
    const edns = query.edns === undefined ? '' : query.edns.dnssec ? 'D' : 'E';
    const key = `${query.type} ${edns}${query.checkingDisabled ? 'C' : ''} ${query.name}`;
    const cached = cache.get(key);
    if (cached !== undefined) return Promise.resolve(cached);
    const pending = waiting.get(key);
    if (pending !== undefined) return pending;
    if (waiting.size >= MAX_WAITING)
      return Promise.reject(new Error('too many questions wait for an answer'));
    const answer = queryUpstream(options.upstream, query)
      .then((response) => {
        const now = { response, at: Date.now() };
        const usual = response.code === RCODE.NOERROR || response.code === RCODE.NXDOMAIN;
        const seconds = usual
          ? Math.min(MAX_TTL_SECONDS, Math.max(MIN_TTL_SECONDS, response.ttl))
          : MIN_TTL_SECONDS;
        const none = response.ttlAt.length === 0;
        cache.set(key, now, { ttl: 1000 * (usual && none ? NEGATIVE_TTL_SECONDS : seconds) });
        return now;
      })
      .finally(() => waiting.delete(key));
    waiting.set(key, answer);
    return answer;
  };

  const check = (client: string, findings: readonly Finding[]): boolean => {
    let refused = false;
    for (const finding of findings) {
      // INVARIANT: in alert mode everything is reported and nothing refused.
      const blocks = options.mode === 'block' && finding.hit.action === 'block';
      options.onFinding(client, finding, blocks);
      refused ||= blocks;
    }
    return refused;
  };

  return {
    async answer(query, client) {
      const { name } = query;
      if (!options.permits(client, name)) {
        options.onForbidden(client, name);
        if (options.mode === 'block') return writeRefusal(query, RCODE.NXDOMAIN, true);
      }
      const listed = options.index().domain(name);
      if (listed !== undefined && check(client, [{ hit: listed, name, address: '' }])) {
        return writeRefusal(query, RCODE.NXDOMAIN, true);
      }
      try {
        const { response, at } = await resolve(query);
        // For cached answers too: the index may have changed.
        const findings = findingsIn(response, name, options.index());
        if (check(client, findings)) return writeRefusal(query, RCODE.NXDOMAIN, true);
        const addresses = addressesOf(response);
        if (addresses.length > 0) await options.onAnswer(client, name, addresses, response.ttl);
        return writeResponse(response, query, Math.floor((Date.now() - at) / 1000));
      } catch {
        return writeRefusal(query, RCODE.SERVFAIL);
      }
    },
    async lookUp(name) {
      const listed = options.index().domain(name);
      if (listed !== undefined) return { addresses: [], findings: [{ hit: listed, name, address: '' }] };
      const answers = await Promise.all([
        resolve(makeQuery(name, TYPE.A)),
        resolve(makeQuery(name, TYPE.AAAA)),
      ]);
      const index = options.index();
      return {
        addresses: answers.flatMap(({ response }) => addressesOf(response)),
        findings: answers.flatMap(({ response }) => findingsIn(response, name, index)),
      };
    },
  };
}

/** What is listed of all that an answer leads to: names of aliases and services, addresses, address hints. */
function findingsIn(response: Response, queriedName: string, index: IndicatorIndex): Finding[] {
  const findings: Finding[] = [];
  for (const name of response.names) {
    const hit = index.domain(name);
    if (hit !== undefined) findings.push({ hit, name, address: '' });
  }
  for (const value of response.ipv4) {
    const hit = hitOfAddress({ family: 4, value }, index);
    if (hit !== undefined) findings.push({ hit, name: queriedName, address: formatIpv4(value) });
  }
  for (const value of response.ipv6) {
    const hit = hitOfAddress({ family: 6, value }, index);
    if (hit !== undefined) findings.push({ hit, name: queriedName, address: formatIpv6(value) });
  }
  return findings;
}

function addressesOf({ ipv4, ipv6 }: Response): string[] {
  return [...ipv4.map(formatIpv4), ...ipv6.map(formatIpv6)];
}

import { isIP } from 'node:net';
import { canonicalUrl } from '../intel/canonical-url.js';
import type { Hit, IndicatorIndex } from '../intel/indicator.js';
import { parseAddress, type Address } from '../base/address.js';
import { isWithin, type Network } from '../base/network.js';
import { hitOfAddress, plainAddress } from './hits.js';
import { isNameAllowed, type Allow } from './networks.js';
import type { Finding } from './resolver.js';

/** Where a request to the gateway wants to go. */
export interface Target {
  /** Canonical: a lower-case name without a trailing dot, or an address without brackets. */
  readonly host: string;
  readonly port: number;
  /** What the request line gets; for CONNECT empty. */
  readonly path: string;
  /** For the Host header. */
  readonly authority: string;
  /** As indicators of type url have it (see indicator.ts); for CONNECT empty. */
  readonly url: string;
}

export type Decision =
  /** Connect to this address and no other. */
  | { readonly ok: true; readonly address: string }
  | { readonly ok: false; readonly status: 403 | 502; readonly reason: string };

/** Decides where the gateway may connect to. */
export interface TargetDecider {
  decide(client: string, target: Target): Promise<Decision>;
  /** May a TLS connection name this server? */
  allowsServerName(client: string, target: Target, name: string): boolean;
  /** The connection names another server than CONNECT, or none. */
  onMismatch(client: string, target: Target, name: string): void;
}

/** Reads the target of a request line. @returns a message for the client when it is none. */
export function readTarget(method: string, text: string): Target | string {
  const connects = method === 'CONNECT';
  if (connects && !/^(\[[0-9A-Fa-f:.]+\]|[^\s/:@?#\\[\]]+):\d{1,5}$/.test(text))
    return 'CONNECT needs HOST:PORT';
  if (!connects && !/^http:\/\//i.test(text)) return 'this is a proxy: it takes http://… URLs and CONNECT';
  let url: URL;
  try {
    url = new URL(connects ? `http://${text}` : text);
  } catch {
    return 'the target is no URL';
  }
  if (url.username !== '' || url.password !== '') return 'a URL with a user has two readings';
  const host = url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  const port = url.port === '' ? 80 : Number(url.port);
  if (host === '' || port === 0) return 'the target has no host or no port';
  return {
    host,
    port,
    path: connects ? '' : `${url.pathname}${url.search}`,
    authority: url.host,
    url: connects ? '' : (canonicalUrl(url.href) ?? ''),
  };
}

export interface TargetDeciderOptions {
  readonly mode: 'block' | 'alert';
  readonly ports: readonly number[];
  /** What names must not lead to: reserved addresses, and the host's own. */
  closed(): readonly Network[];
  /** Of those, what may be reached all the same, and names that may lead there. */
  readonly allow: Allow;
  index(): IndicatorIndex;
  /** What the client's network allows; undefined: no default deny. */
  allowOf(client: string): Allow | undefined;
  lookUp(
    name: string,
  ): Promise<{ readonly addresses: readonly string[]; readonly findings: readonly Finding[] }>;
  /** `hit` undefined: refused by a rule, not by an indicator. */
  onAttempt(client: string, target: Target, hit: Hit | undefined, address: string, refused: boolean): void;
}

export const createTargetDecider = (options: TargetDeciderOptions): TargetDecider =>
  new IndexedDecider(options);

const refused = (reason: string): Decision => ({ ok: false, status: 403, reason });

/** Decides by the index in force, by reserved addresses, and by what the client's network allows. */
class IndexedDecider implements TargetDecider {
  readonly #options: TargetDeciderOptions;

  constructor(options: TargetDeciderOptions) {
    this.#options = options;
  }

  async decide(client: string, target: Target): Promise<Decision> {
    const { host, port } = target;
    const options = this.#options;
    const index = options.index();
    if (!options.ports.includes(port)) return refused(`port ${port} is not open (egress.gateway.ports)`);
    const url = target.url === '' ? undefined : index.url(target.url);
    let decision = this.#refuseListed(client, target, url, '');
    if (decision !== undefined) return decision;
    const isAddress = isIP(host) !== 0;
    const { addresses, findings } = isAddress
      ? { addresses: [host], findings: [] }
      : await options.lookUp(host);
    for (const { hit, address } of findings) {
      decision = this.#refuseListed(client, target, hit, address);
      if (decision !== undefined) return decision;
    }
    let reason = `${host} has no address`;
    // The first address that may be reached; a name with one good and one bad address is used for its good one.
    for (const text of addresses) {
      const address = parseAddress(text);
      if (address === undefined) continue;
      if (isAddress) decision = this.#refuseListed(client, target, hitOfAddress(address, index), text);
      if (decision !== undefined) return decision;
      if (this.#leadsInside(isAddress ? '' : host, address)) {
        reason = `${host} leads to ${text}, which is not public (egress.gateway.allow)`;
        this.#options.onAttempt(client, target, undefined, text, true);
        continue;
      }
      decision = this.#refuseForbidden(client, target, isAddress ? '' : host, text, address);
      return decision ?? { ok: true, address: text };
    }
    return addresses.length === 0 ? { ok: false, status: 502, reason } : refused(reason);
  }

  allowsServerName(client: string, target: Target, name: string): boolean {
    const hit = isIP(name) === 0 ? this.#options.index().domain(name) : undefined;
    return this.#refuseListed(client, target, hit, '') === undefined;
  }

  onMismatch(client: string, target: Target, name: string): void {
    const named = { ...target, url: '', host: name === '' ? target.host : name };
    this.#options.onAttempt(client, named, undefined, '', true);
  }

  /** @returns a refusal; undefined: go on. */
  #refuseListed(client: string, target: Target, hit: Hit | undefined, address: string): Decision | undefined {
    if (hit === undefined) return undefined;
    const blocks = this.#options.mode === 'block' && hit.action === 'block';
    this.#options.onAttempt(client, target, hit, address, blocks);
    return blocks ? refused(`${hit.indicator} is listed by ${hit.feed}`) : undefined;
  }

  /**
   * INVARIANT: a name never leads into the host or its private networks: metadata services, the engine, this gateway.
   *
   * @param name empty where the client gave an address.
   */
  #leadsInside(name: string, address: Address): boolean {
    const { allow } = this.#options;
    if (name !== '' && isNameAllowed(name, allow)) return false;
    return isWithin(plainAddress(address), this.#options.closed()) && !isWithin(address, allow.networks);
  }

  /** What a rule of the network refuses; in alert mode that is only reported. @param name as for `#leadsInside`. */
  #refuseForbidden(
    client: string,
    target: Target,
    name: string,
    text: string,
    address: Address,
  ): Decision | undefined {
    const allow = this.#options.allowOf(client);
    if (allow === undefined || isNameAllowed(name, allow) || isWithin(address, allow.networks))
      return undefined;
    const blocks = this.#options.mode === 'block';
    this.#options.onAttempt(client, target, undefined, text, blocks);
    const reason = `${target.host} is not allowed from this network (egress.networks)`;
    return blocks ? refused(reason) : undefined;
  }
}

import { isIP } from 'node:net';
import { canonicalUrl } from '../intel/canonical-url.js';
import type { Hit, IndicatorIndex } from '../intel/indicator.js';
import { parseAddress } from '../base/address.js';
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

export function createTargetDecider(options: TargetDeciderOptions): TargetDecider {
  const refused = (reason: string): Decision => ({ ok: false, status: 403, reason });

  /** @returns a refusal; undefined: go on. */
  const refuseListed = (
    client: string,
    target: Target,
    hit: Hit | undefined,
    address: string,
  ): Decision | undefined => {
    if (hit === undefined) return undefined;
    const blocks = options.mode === 'block' && hit.action === 'block';
    options.onAttempt(client, target, hit, address, blocks);
    return blocks ? refused(`${hit.indicator} is listed by ${hit.feed}`) : undefined;
  };

  /** A rule of the network refuses it; in alert mode that is only reported. */
  const refuseForbidden = (
    client: string,
    target: Target,
    address: string,
    reason: string,
  ): Decision | undefined => {
    const blocks = options.mode === 'block';
    options.onAttempt(client, target, undefined, address, blocks);
    return blocks ? refused(reason) : undefined;
  };

  return {
    async decide(client, target) {
      const { host, port } = target;
      const index = options.index();
      if (!options.ports.includes(port)) return refused(`port ${port} is not open (egress.gateway.ports)`);
      const url = target.url === '' ? undefined : index.url(target.url);
      let decision = refuseListed(client, target, url, '');
      if (decision !== undefined) return decision;
      const isAddress = isIP(host) !== 0;
      const { addresses, findings } = isAddress
        ? { addresses: [host], findings: [] }
        : await options.lookUp(host);
      for (const { hit, address } of findings) {
        decision = refuseListed(client, target, hit, address);
        if (decision !== undefined) return decision;
      }
      const allow = options.allowOf(client);
      const trusted = !isAddress && isNameAllowed(host, options.allow);
      let reason = `${host} has no address`;
      // The first address that may be reached; a name with one good and one bad address is used for its good one.
      for (const text of addresses) {
        const address = parseAddress(text);
        if (address === undefined) continue;
        if (isAddress) decision = refuseListed(client, target, hitOfAddress(address, index), text);
        if (decision !== undefined) return decision;
        // INVARIANT: a name never leads into the host or its private networks: metadata services, the engine, this gateway.
        if (
          !trusted &&
          isWithin(plainAddress(address), options.closed()) &&
          !isWithin(address, options.allow.networks)
        ) {
          reason = `${host} leads to ${text}, which is not public (egress.gateway.allow)`;
          options.onAttempt(client, target, undefined, text, true);
          continue;
        }
        if (
          allow !== undefined &&
          !isNameAllowed(isAddress ? '' : host, allow) &&
          !isWithin(address, allow.networks)
        ) {
          decision = refuseForbidden(
            client,
            target,
            text,
            `${host} is not allowed from this network (egress.networks)`,
          );
          if (decision !== undefined) return decision;
        }
        return { ok: true, address: text };
      }
      return addresses.length === 0 ? { ok: false, status: 502, reason } : refused(reason);
    },
    allowsServerName: (client, target, name) =>
      refuseListed(client, target, isIP(name) === 0 ? options.index().domain(name) : undefined, '') ===
      undefined,
    onMismatch: (client, target, name) =>
      options.onAttempt(
        client,
        { ...target, url: '', host: name === '' ? target.host : name },
        undefined,
        '',
        true,
      ),
  };
}

import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { parseUrl } from '../intel/canonical-host.js';
import type { FeedsConfig } from '../intel/feed-source.js';
import type { BuildInput } from './index-file.js';

/** What the index is built from, as things stand now. @param extra see neverBlocked. */
export async function buildInput(config: FeedsConfig, extra: readonly string[]): Promise<BuildInput> {
  const { state, sources, allow, warninglists } = config;
  return { state, sources, allow, warninglists, neverBlock: await neverBlocked(config, extra) };
}

/**
 * What no feed may list, beside the reserved addresses: this host, its resolvers, the hosts and proxies that the feeds
 * come through, and what the config names.
 * The attack: a feed that lists what would have to be reached to get the next, better version of the feed.
 *
 * @param extra what only the caller knows: the engine, the log server.
 */
export async function neverBlocked(config: FeedsConfig, extra: readonly string[]): Promise<string[]> {
  // Without those of the link, which are reserved, and come and go with each container.
  const own = Object.values(networkInterfaces())
    .flatMap((address) => address ?? [])
    .filter((address) => address.family === 'IPv4' || address.scopeid === 0)
    .map(({ address }) => address);
  const urls = config.sources.flatMap(({ url, proxy }) => [
    url,
    ...(typeof proxy === 'string' ? [proxy] : []),
  ]);
  for (const name of ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy'])
    urls.push(process.env[name] ?? '');
  const hosts = urls.map((url) => parseUrl(url)?.hostname ?? '');
  const resolvers = await readFile('/etc/resolv.conf', 'utf8').catch(() => '');
  const names = [...resolvers.matchAll(/^[ \t]*nameserver[ \t]+(\S+)/gm)].map(([, address = '']) => address);
  return [...new Set([...own, ...hosts, ...names, ...extra, ...config.neverBlock])]
    .map((address) => address.replace(/%.*$/, '').replace(/^\[|\]$/g, ''))
    .filter((address) => address !== '')
    .sort();
}

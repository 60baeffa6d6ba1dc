import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { loadConfig, type ConfigResult } from '../../src/config/load.js';
import type { FeedSource, FeedsConfig } from '../../src/intel/feed-source.js';

function load(t: Test, feeds: unknown): { result: ConfigResult; directory: string } {
  const directory = t.testdir({});
  const path = join(directory, 'config.json');
  writeFileSync(path, JSON.stringify({ feeds }));
  return { result: loadConfig(path, { listen: [], policy: [] }), directory };
}

function good(t: Test, feeds: unknown): { feeds: FeedsConfig; directory: string } {
  const { result, directory } = load(t, feeds);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return { feeds: result.config.feeds, directory };
}

function source(t: Test, one: object): FeedSource {
  return good(t, { sources: [{ name: 'f', url: 'https://feeds.example.com/a', ...one }] }).feeds.sources[0]!;
}

t.test('no section: no feeds', async (t) => {
  const none = loadConfig(undefined, { listen: [], policy: [] });
  t.match(none, {
    config: { feeds: { state: '/var/lib/breakwater/feeds', required: false, sources: [], allow: [] } },
  });
});

t.test('what a feed is by default', async (t) => {
  t.same(source(t, {}), {
    name: 'f',
    url: 'https://feeds.example.com/a',
    type: 'list',
    format: 'auto',
    action: 'block',
    minConfidence: 50,
    confidence: 75,
    ttl: 0,
    refresh: 3_600_000,
    minInterval: 300_000,
    timeout: 300_000,
    idle: 30_000,
    maxSize: 128 * 2 ** 20,
    maxEvents: 2_000,
    headers: {},
    proxy: undefined,
    tls: {},
    internal: false,
    allowReserved: false,
  });
});

t.test('paths are relative to the file; the kind of a feed follows from its URL', async (t) => {
  const { feeds, directory } = good(t, {
    state: 'state',
    warninglists: ['lists/cloud.json'],
    sources: [
      {
        name: 'mine',
        url: 'file:reports/a report.txt',
        ttl: '90d',
        allowReserved: true,
        headers: { 'Auth-Key': { file: 'key' }, Accept: 'text/plain', 'X-Token': { env: 'TOKEN' } },
        tls: { ca: 'ca.pem' },
        proxy: null,
      },
    ],
  });
  t.equal(feeds.state, join(directory, 'state'));
  t.same(feeds.warninglists, [join(directory, 'lists/cloud.json')]);
  t.match(feeds.sources[0], {
    url: `file://${directory}/reports/a%20report.txt`,
    ttl: 90 * 86_400_000,
    headers: {
      'Auth-Key': { file: join(directory, 'key') },
      Accept: { text: 'text/plain' },
      'X-Token': { env: 'TOKEN' },
    },
    tls: { ca: join(directory, 'ca.pem') },
    proxy: null,
  });
  const types: [string, string][] = [
    ['https://misp.example.com/feed/manifest.json', 'misp'],
    ['file:///srv/misp/manifest.json', 'misp'],
    ['https://t.example.com/api/collections/91a7b528-80eb-42ed-a74d-c6fbd5a26116/', 'taxii'],
    ['https://t.example.com/api/collections/c2/objects', 'taxii'],
    ['https://t.example.com/collections/', 'list'],
  ];
  for (const [url, type] of types) t.equal(source(t, { url }).type, type, url);
  t.equal(source(t, { url: 'https://x.example/feed/', type: 'misp' }).type, 'misp', 'named');
  t.equal(source(t, { refresh: '1m' }).minInterval, 60_000, 'never longer than refresh');
});

t.test('problems name pointer, finding and remedy', async (t) => {
  const cases: [object, RegExp][] = [
    [{ url: 'ftp://x.example/' }, /^\/url: found the scheme ftp; expected https, http or file/],
    [{ url: 'feeds.txt' }, /^\/url: found "feeds.txt"; expected https:.*file:PATH/],
    [{ url: 'https://me:secret@x.example/' }, /^\/url: holds a user name or a password.*"headers"/],
    [{ url: 'http://x.example/' }, /^\/url: plain HTTP.*"insecure": true/],
    [{ insecure: true }, /^\/insecure: only means something for http/],
    [{ allowReserved: true }, /^\/allowReserved: only for file:/],
    [{ action: 'blok' }, /^\/action: found "blok"; valid: "block", "alert". Did you mean "block"/],
    [{ minConfidence: 101 }, /^\/minConfidence/],
    [{ ttl: '0s' }, /^\/ttl: found "0s": expected a time/],
    [{ refresh: '1m', minInterval: '2m' }, /^\/minInterval: is longer than "refresh"/],
    [{ maxSize: '600MiB' }, /^\/maxSize: .*from 1024 to/],
    [{ headers: { Host: 'x' } }, /^\/headers\/Host: .*set by the client itself/],
    [{ headers: { 'a b': 'x' } }, /^\/headers\/a b: .*name of an HTTP header/],
    [{ headers: { Key: { evn: 'X' } } }, /^\/headers\/Key/],
    [{ proxy: 'proxy:3128' }, /^\/proxy: found "proxy:3128"; expected http/],
    [{ name: '../x' }, /^\/name: .*letters, digits/],
    [{ format: 'feodo' }, /^\/format: found "feodo"; valid: "auto", .*"feodo-json"/],
    [{ formt: 'csv' }, /^\/formt: .*Did you mean "format"/],
    [{ url: 'file:///x', type: 'taxii' }, /^\/type: a TAXII collection needs https/],
  ];
  for (const [one, expected] of cases) {
    const { result } = load(t, { sources: [{ name: 'f', url: 'https://x.example/', ...one }] });
    const found = result.ok ? [] : result.problems;
    t.equal(found.length, 1, JSON.stringify([one, found]));
    t.match(`${found[0]?.pointer.replace('/feeds/sources/0', '')}: ${found[0]?.message}`, expected);
  }
  for (const key of ['allow', 'neverBlock']) {
    const { result } = load(t, { [key]: ['example.com', '10.0.0.0/8', 'a b'] });
    t.match(result, { problems: [{ pointer: `/feeds/${key}/2`, message: /"a b" is no address, prefix/ }] });
  }
  const twice = load(t, {
    sources: [
      { name: 'C2', url: 'https://x.example/' },
      { name: 'c2', url: 'https://y.example/' },
    ],
  }).result;
  t.match(twice, {
    problems: [{ pointer: '/feeds/sources/1/name', message: /also the name of sources\/0/ }],
  });
});

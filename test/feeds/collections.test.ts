import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { readMeta } from '../../src/feeds/copy.js';
import { readCopy } from '../../src/feeds/read-copy.js';
import { refreshFeed, type RefreshOutcome } from '../../src/feeds/refresh.js';
import type { FeedSource } from '../../src/intel/feed-source.js';
import { makeConfig, makeSource, serveFeeds } from './feed-server.js';

function refresh(state: string, source: FeedSource, acceptShrink = false): Promise<RefreshOutcome> {
  const { limits } = makeConfig(state, []);
  return refreshFeed({ kind: 'refresh', state, source, limits, acceptShrink }, () => undefined);
}

/** Values in the last good copy. */
async function valuesIn(state: string, source: FeedSource): Promise<string[]> {
  const meta = await readMeta(state, source.name);
  const directory = join(state, 'sources', source.name);
  const reading = await readCopy(source, directory, meta?.files ?? [], Math.floor(Date.now() / 1000));
  return [...reading.indicators].map(({ value }) => value).sort();
}

const time = (n: number): string => `2026-11-${String(n).padStart(2, '0')}T00:00:00.000Z`;

function stix(n: number, address: string, more: object = {}): object {
  return {
    type: 'indicator',
    spec_version: '2.1',
    id: `indicator--00000000-0000-4000-8000-${String(n).padStart(12, '0')}`,
    created: time(1),
    modified: time(n),
    valid_from: time(1),
    pattern_type: 'stix',
    pattern: `[ipv4-addr:value = '${address}']`,
    ...more,
  };
}

await t.test('TAXII: all pages, then only what was added', async (t) => {
  const server = await serveFeeds(t);
  const state = t.testdir({});
  const source = makeSource({
    url: `${server.url}api/collections/c2/?match[version]=last`,
    type: 'taxii',
    headers: { k: { text: 'v' } },
  });
  const queries: URLSearchParams[] = [];
  const pages: [object, string][] = [
    [{ more: true, next: 'p2', objects: [stix(1, '45.0.0.1')] }, time(1)],
    // Without "next": on with the time of the last object.
    [{ more: true, objects: [stix(2, '45.0.0.2'), stix(3, '45.0.0.3')] }, time(3)],
    [{ objects: [stix(4, '45.0.0.4')] }, time(4)],
  ];
  server.answer((request, response) => {
    const url = new URL(request.url ?? '', server.url);
    queries.push(url.searchParams);
    t.equal(url.pathname, '/api/collections/c2/objects/');
    t.equal(request.headers.accept, 'application/taxii+json;version=2.1');
    t.equal(request.headers['k'], 'v');
    const [page, added] = pages.shift() ?? [{}, ''];
    response.writeHead(200, {
      'content-type': 'application/taxii+json;version=2.1',
      ...(added === '' ? {} : { 'x-taxii-date-added-last': added }),
    });
    response.end(JSON.stringify(page));
  });
  t.match(await refresh(state, source), {
    hasChanged: true,
    meta: { indicators: 4, cursor: time(4), format: 'stix' },
  });
  t.same(
    queries.map((query) => [
      query.get('match[type]'),
      query.get('match[version]'),
      query.get('next'),
      query.get('added_after'),
    ]),
    [
      ['indicator', 'last', null, null],
      ['indicator', 'last', 'p2', null],
      ['indicator', 'last', null, time(3)],
    ],
  );
  t.match(
    await refresh(state, source),
    { hasChanged: false, meta: { cursor: time(4) } },
    'nothing was added',
  );
  t.equal(queries.at(-1)?.get('added_after'), time(4));

  const revoked = { ...stix(1, '45.0.0.1'), modified: time(9), revoked: true };
  pages.push([{ objects: [stix(5, '45.0.0.5'), revoked] }, time(9)]);
  t.match(await refresh(state, source), { hasChanged: true, meta: { indicators: 4, cursor: time(9) } });
  t.same(
    await valuesIn(state, source),
    ['45.0.0.2', '45.0.0.3', '45.0.0.4', '45.0.0.5'],
    'a revoked one is gone',
  );
});

await t.test('TAXII: a server that has always one more page', async (t) => {
  const server = await serveFeeds(t);
  const source = makeSource({ url: `${server.url}api/collections/c2/objects/`, type: 'taxii' });
  const endless: [object, string, RegExp][] = [
    [
      { more: true, next: 'again', objects: [stix(1, '45.0.0.1')] },
      time(1),
      /page 2 says that there is more, but not where/,
    ],
    [{ more: true, objects: [stix(1, '45.0.0.1')] }, '', /page 1 says that there is more, but not where/],
    [{ title: 'Not today', http_status: '500' }, '', /page 1: .*error or a description/],
    [{ objects: 'x' }, '', /page 1: .*no array/],
  ];
  for (const [page, added, expected] of endless) {
    server.answer((_, response) => {
      response
        .writeHead(200, added === '' ? {} : { 'x-taxii-date-added-last': added })
        .end(JSON.stringify(page));
    });
    await t.rejects(refresh(t.testdir({}), source), expected);
  }
  let n = 0;
  server.answer((_, response) => {
    n++;
    response.end(
      JSON.stringify({
        more: true,
        next: `p${n}`,
        objects: [stix(1, '45.0.0.1', { description: 'x'.repeat(5e4) })],
      }),
    );
  });
  await t.rejects(refresh(t.testdir({}), source), /larger than maxSize/, 'new pages without end');
  t.ok(n < 30, `${n} pages`);
});

const uuid = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;

function misp(n: number, address: string): object {
  return {
    Event: {
      uuid: uuid(n),
      info: 'a campaign',
      timestamp: '1760000000',
      Attribute: [{ type: 'ip-dst', value: address, to_ids: true, timestamp: '1760000000' }],
    },
  };
}

await t.test('MISP: the manifest, its newest events, and again those that moved', async (t) => {
  const server = await serveFeeds(t);
  const state = t.testdir({});
  const source = makeSource({ url: `${server.url}feed/manifest.json?key=s`, type: 'misp', maxEvents: 3 });
  const manifest: Record<string, { timestamp: string; info: string }> = {};
  for (const n of [1, 2, 3, 4]) manifest[uuid(n)] = { timestamp: `${1_760_000_000 + n}`, info: 'x' };
  const events = new Map([1, 2, 3, 4].map((n) => [uuid(n), misp(n, `45.0.0.${n}`)]));
  let fetched: string[] = [];
  server.answer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', server.url);
    t.equal(searchParams.get('key'), 's');
    if (pathname.endsWith('/manifest.json')) {
      response.end(JSON.stringify(manifest));
      return;
    }
    const id = pathname.slice('/feed/'.length, -'.json'.length);
    fetched.push(id);
    const event = events.get(id);
    if (event === undefined) response.writeHead(404).end();
    else response.end(JSON.stringify(event));
  });
  t.match(await refresh(state, source), { hasChanged: true, meta: { indicators: 3, format: 'misp' } });
  t.same(fetched, [uuid(4), uuid(3), uuid(2)], 'the newest, no more than maxEvents');

  fetched = [];
  t.match(await refresh(state, source), { hasChanged: false });
  t.same(fetched, [], 'what did not move is not asked for');

  manifest[uuid(3)] = { timestamp: '1760009999', info: 'x' };
  events.set(uuid(3), misp(3, '45.0.0.33'));
  manifest[uuid(5)] = { timestamp: '1760009998', info: 'withdrawn' };
  t.match(await refresh(state, source), { hasChanged: true, meta: { indicators: 2 } });
  t.same(fetched, [uuid(3), uuid(5)]);
  t.same(await valuesIn(state, source), ['45.0.0.33', '45.0.0.4']);
});

await t.test(
  'MISP: a refresh that breaks off goes on where it was; names in a manifest are no paths',
  async (t) => {
    const server = await serveFeeds(t);
    const state = t.testdir({});
    const source = makeSource({ url: `${server.url}`, type: 'misp' });
    const fetched: string[] = [];
    let broken = true;
    let manifest: object = Object.fromEntries(
      [1, 2, 3].map((n) => [uuid(n), { timestamp: `${1_760_000_000 + n}` }]),
    );
    server.answer((request, response) => {
      if (request.url === '/manifest.json') response.end(JSON.stringify(manifest));
      else if (broken && request.url === `/${uuid(1)}.json`) response.destroy();
      else {
        fetched.push(request.url ?? '');
        response.end(JSON.stringify(misp(Number(request.url?.slice(-6, -5)), '45.0.0.1')));
      }
    });
    await t.rejects(refresh(state, source), /connection broke/);
    t.equal(fetched.length, 2);
    broken = false;
    t.match(await refresh(state, source), { hasChanged: true });
    t.same(fetched.slice(2), [`/${uuid(1)}.json`]);
    for (const name of ['../../etc/passwd', '..%2f..%2fx', uuid(1).replace('-', '/')]) {
      manifest = { [name]: { timestamp: '1760000001' } };
      await t.rejects(refresh(state, source), /manifest\.json: .*without a UUID/, name);
    }
  },
);

await t.test('MISP from a directory', async (t) => {
  const directory = t.testdir({});
  mkdirSync(join(directory, 'misp'));
  writeFileSync(
    join(directory, 'misp/manifest.json'),
    JSON.stringify({ [uuid(1)]: { timestamp: '1760000001' } }),
  );
  writeFileSync(join(directory, `misp/${uuid(1)}.json`), JSON.stringify(misp(1, '45.0.0.7')));
  const source = makeSource({ url: `file://${directory}/misp/manifest.json`, type: 'misp' });
  t.match(await refresh(join(directory, 'state'), source), { hasChanged: true, meta: { indicators: 1 } });
  t.match(await refresh(join(directory, 'state'), source), { hasChanged: false });
});

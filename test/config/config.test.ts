import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import type { Config } from '../../src/config/config.js';
import { isLoopback, parseEndpoint } from '../../src/config/endpoint.js';
import { loadConfig, type ConfigFlags } from '../../src/config/load.js';
import { parseDuration, parseSize } from '../../src/base/units.js';

const NO_FLAGS: ConfigFlags = { listen: [], policy: [] };
let files = 0;

function write(t: Test, document: object | string): string {
  const path = join(t.testdir({}), `config-${++files}.json`);
  writeFileSync(path, typeof document === 'string' ? document : JSON.stringify(document));
  return path;
}

function good(t: Test, document: object | string, flags: Partial<ConfigFlags> = {}): Config {
  const result = loadConfig(write(t, document), { ...NO_FLAGS, ...flags });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.config;
}

function bad(t: Test, document: object | string, flags: Partial<ConfigFlags> = {}): string[] {
  const result = loadConfig(write(t, document), { ...NO_FLAGS, ...flags });
  return result.ok
    ? []
    : result.problems.map(({ file, pointer, message }) => {
        return `${file.endsWith('.json') ? '' : file}${pointer}: ${message}`;
      });
}

t.test('sizes and durations', async (t) => {
  const sizes: [string | number, number | undefined][] = [
    ['64MiB', 64 * 2 ** 20],
    ['1KB', 1000],
    ['5', 5],
    [7, 7],
    ['4GiB', 2 ** 32],
    ['0', 0],
    ['1.5MiB', undefined],
    ['-1', undefined],
    [-1, undefined],
    [1.5, undefined],
    ['64 MiB', undefined],
    ['1mib', undefined],
    ['64M', 67_108_864],
    ['64m', 67_108_864],
    ['64k', 65_536],
    ['2g', 2 ** 31],
    ['1T', 2 ** 40],
    ['2GB', 2e9],
    ['512MiB', 512 * 2 ** 20],
    ['64mb', undefined],
    ['64Mi', undefined],
    ['999999999999999TiB', undefined],
    ['', undefined],
    ['MiB', undefined],
    ['9999999TiB', undefined],
    ['1toString', undefined],
    [Number.NaN, undefined],
  ];
  for (const [text, value] of sizes) t.equal(parseSize(text), value, `size ${text}`);
  const durations: [string | number, number | undefined][] = [
    ['30s', 30_000],
    ['2m', 120_000],
    ['500ms', 500],
    ['1h', 3_600_000],
    ['1d', 86_400_000],
    [250, 250],
    ['1w', undefined],
    ['1M', undefined],
  ];
  for (const [text, value] of durations) t.equal(parseDuration(text), value, `duration ${text}`);
});

t.test('endpoints', async (t) => {
  t.same(parseEndpoint('tcp://[::1]:2375'), { scheme: 'tcp', host: '::1', port: 2375 });
  t.same(parseEndpoint('tls://example.com:2376/'), { scheme: 'tls', host: 'example.com', port: 2376 });
  t.same(parseEndpoint('unix:///run/a b.sock'), { scheme: 'unix', path: '/run/a b.sock' });
  for (const url of [
    '',
    'tcp://x',
    'tcp://:1',
    'http://x:1',
    'tcp://x:99999',
    'tcp://u@x:1',
    'unix://run/x',
    'tcp://[::g]:1',
    'tcp://300.1.1.1:1',
    'tcp://::1:2375',
    'tcp://x:1/y',
    `unix:///${'x'.repeat(120)}`,
  ]) {
    t.type(parseEndpoint(url), 'string', url);
  }
  for (const host of ['localhost', '127.0.0.1', '127.8.0.1', '::1', '::ffff:127.0.0.1'])
    t.ok(isLoopback(host), host);
  for (const host of ['0.0.0.0', '::', '10.0.0.1', 'localhost.example.com', '128.0.0.1', '0177.0.0.1'])
    t.notOk(isLoopback(host), host);
});

t.test('an empty file, and none, are the defaults', async (t) => {
  const none = loadConfig(undefined, NO_FLAGS);
  if (!none.ok) throw new Error(JSON.stringify(none.problems));
  t.same(none.defaults, ['listen', 'upstream', 'policy']);
  t.match(none.config, {
    listen: [{ name: 'tcp', url: 'tcp://127.0.0.1:2375' }],
    upstream: { url: 'unix:///var/run/docker.sock', timeout: 120_000 },
    admin: { url: 'tcp://127.0.0.1:9323' },
    audit: {
      file: '-',
      journal: null,
      alerts: { window: 300_000, threshold: 10, keys: 10_000 },
      onFailure: { write: 'deny', read: 'allow' },
    },
    limits: {
      body: 2 * 2 ** 20,
      buffered: 256 * 2 ** 20,
      context: 16 * 2 ** 30,
      connections: 16_384,
      headers: 32_768,
    },
  });
  t.match(none.config.policy, [/policies.default\.json$/]);
  for (const text of ['', ' \n', '{}']) t.same(good(t, text), none.config, JSON.stringify(text));
});

t.test('a full file', async (t) => {
  const config = good(t, {
    $schema: './config.schema.json',
    listen: [
      { name: 'lan', url: 'tls://0.0.0.0:2376', tls: { cert: 'c.pem', key: '/k.pem', clientCa: 'ca.pem' } },
      { url: 'unix:///run/breakwater/docker.sock', mode: '0660', group: 'docker' },
      { url: 'tcp://0.0.0.0:2375', insecure: true },
      { url: 'tcp://127.0.0.1:2376' },
    ],
    upstream: {
      url: 'tls://engine.example.com:2376',
      tls: { ca: 'ca.pem', cert: 'c.pem', key: 'k.pem' },
      connectTimeout: '3s',
    },
    policy: ['policies'],
    admin: null,
    audit: { file: 'audit.log', onFailure: { read: 'deny' } },
    limits: { body: '1MiB', idle: 5000 },
  });
  t.same(
    config.listen.map((entry) => entry.name),
    ['lan', 'unix', 'tcp', 'tcp-2'],
  );
  t.match(config.listen[0]?.tls, { cert: /^\/.*c\.pem$/, key: '/k.pem', clientAuth: 'required' });
  t.equal(config.admin, null);
  t.match(config.audit, { file: /^\/.*audit\.log$/, onFailure: { write: 'deny', read: 'deny' } });
  t.match(config.upstream, { connectTimeout: 3000, timeout: 120_000 });
  t.match(config.limits, { body: 2 ** 20, idle: 5000, drain: 10_000 });
  t.match(config.policy, [/^\/.*policies$/], 'relative to the file');
});

t.test('flags override the file', async (t) => {
  const file = {
    listen: [{ url: 'tcp://127.0.0.1:1' }],
    upstream: { url: 'tls://x.example:1', tls: { ca: 'a' }, timeout: '1s' },
    policy: ['a'],
    audit: { file: 'a' },
  };
  const flags = {
    listen: ['unix:///a', 'unix:///b', 'tcp://127.0.0.1:0'],
    upstream: 'unix:///e',
    policy: ['p'],
    audit: '-',
  };
  const config = good(t, file, flags);
  t.same(config.listen, [
    { name: 'unix', url: 'unix:///a' },
    { name: 'unix-2', url: 'unix:///b' },
    { name: 'tcp', url: 'tcp://127.0.0.1:0' },
  ]);
  t.match(config.upstream, { url: 'unix:///e', tls: undefined, timeout: 1000 });
  t.same(config.policy, ['p'], 'relative to the working directory');
  t.equal(config.audit.file, '-');
  t.match(bad(t, {}, { listen: ['tcp://0.0.0.0:1'] }), [
    /^--listen: tcp:\/\/0.0.0.0:1: plain TCP beyond loopback.*--insecure-tcp/,
  ]);
  t.match(good(t, {}, { listen: ['tcp://0.0.0.0:1'], insecureTcp: true }).listen, [{ insecure: true }]);
  t.match(bad(t, {}, { listen: ['tls://0.0.0.0:1'] }), [/^--listen: a tls listener needs a certificate/]);
  t.match(bad(t, {}, { upstream: 'docker.sock' }), [/^--upstream: found "docker.sock": expected unix:/]);
});

t.test('egress: an empty section works, values are read, paths are relative to the file', async (t) => {
  t.equal(good(t, {}).egress, null);
  t.match(good(t, { egress: {} }).egress, {
    mode: 'block',
    table: 'breakwater',
    dns: null,
    gateway: null,
    onHit: { action: 'none' },
    history: { keep: 86_400_000 },
  });
  const { egress } = good(t, {
    egress: {
      attempts: { directory: 'spool' },
      dns: { listen: '[::]:5300', upstream: ['10.0.0.2', '[2001:db8::1]:5353'], interfaces: ['br-*'] },
      gateway: { listen: '172.17.0.1:3128', allow: ['10.1.0.0/16', 'Mirror.Example.'] },
      networks: [{ subnet: '172.30.0.0/16', default: 'deny', allow: ['*.bücher.example', '10.0.0.1'] }],
    },
  });
  t.match(egress?.attempts.directory, /\/spool$/);
  t.match(egress?.dns, {
    listen: { host: '::', port: 5300 },
    upstream: [
      { host: '10.0.0.2', port: 53 },
      { host: '2001:db8::1', port: 5353 },
    ],
  });
  t.strictSame(egress?.gateway?.allow.names, ['mirror.example']);
  t.strictSame(egress?.networks[0]?.allow.names, ['xn--bcher-kva.example']);
  t.match(egress?.networks[0]?.allow.networks, [{ family: 4, value: 0x0a000001, bits: 32 }]);
});

t.test(
  'sequences: on by default, each can be switched off, and what the page states are the defaults',
  async (t) => {
    const { sequences } = good(t, {});
    const page = readFileSync('docs/explanation/sequences.md', 'utf8');
    const example = /```json\n(\{\n {2}"sequences"[^]*?)\n```/.exec(page)?.[1] ?? '';
    t.strictSame(good(t, example).sequences, sequences);
    t.match(sequences, {
      clients: 10_000,
      'build-and-run': { window: 3_600_000, discovery: true, action: 'deny' },
      probing: { window: 300_000, action: 'alert' },
    });
    const some = good(t, { sequences: { 'exec-spread': false, 'build-and-run': { discovery: false } } });
    t.equal(some.sequences['exec-spread'], false);
    t.match(some.sequences['build-and-run'], { discovery: false, window: 3_600_000 });
  },
);

t.test('problems name file, pointer, finding and remedy', async (t) => {
  const tls = { cert: 'c', key: 'k' };
  const cases: [object | string, RegExp][] = [
    ['{"limits": {"body": 1, "body": 2}}', /line 1.*twice/],
    ['{', /line 1/],
    [[], /^: found an empty array; expected an object/],
    [{ lisen: [] }, /^\/lisen: unknown key "lisen". Did you mean "listen"/],
    [
      { egress: { mode: 'blok' } },
      /^\/egress\/mode: found "blok"; valid: "block", "alert". Did you mean "block"/,
    ],
    [{ egress: { table: 'filter; flush ruleset' } }, /^\/egress\/table: .*must be breakwater/],
    [
      { egress: { dns: { listen: '127.0.0.1:5300', upstream: ['10.0.0.2'] } } },
      /^\/egress\/dns\/listen: queries from containers cannot be redirected to loopback/,
    ],
    [
      { egress: { dns: { listen: 'docker0:53', upstream: ['10.0.0.2'] } } },
      /listen: "docker0:53": expected ADDR/,
    ],
    [
      { egress: { dns: { listen: '172.17.0.1:53', upstream: ['172.17.0.1'] } } },
      /^\/egress\/dns\/upstream\/0: is the resolver itself/,
    ],
    [
      { egress: { networks: [{ default: 'deny' }] } },
      /^\/egress\/networks\/0: needs either "bridge" or "subnet"/,
    ],
    [
      { egress: { networks: [{ bridge: 'br0"; accept', default: 'deny' }] } },
      /^\/egress\/networks\/0\/bridge: .*must be the name of a Linux bridge/,
    ],
    [
      { egress: { networks: [{ bridge: 'b', default: 'deny', allow: ['a b'] }] } },
      /^\/egress\/networks\/0\/allow\/0: "a b" is no address, no CIDR and no domain/,
    ],
    [
      { egress: { networks: [{ bridge: 'b', default: 'deny', allow: ['deb.example'] }] } },
      /^\/egress\/networks\/0\/allow: domains need "dns"/,
    ],
    [{ egress: { neverBlock: ['10.0.0.0/33'] } }, /^\/egress\/neverBlock\/0: "10.0.0.0\/33" is no address/],
    [{ sequences: { probing: true } }, /^\/sequences\/probing: found true; expected false or an object/],
    [
      { sequences: { probing: { action: 'block' } } },
      /^\/sequences\/probing\/action: found "block"; valid: "deny", "alert"/,
    ],
    [
      { sequences: { 'exec-spread': { container: 3 } } },
      /^\/sequences\/exec-spread\/container: unknown key "container". Did you mean "containers"/,
    ],
    [
      { sequences: { 'exec-spread': { window: 'soon' } } },
      /^\/sequences\/exec-spread\/window: found "soon": expected a duration/,
    ],
    [{ sequences: { 'build-run': {} } }, /unknown key "build-run".* Valid keys: clients, build-and-run/],
    [{ audit: { journal: '/x', file: '-' } }, /^\/audit\/file: stands beside "journal"/],
    [{ audit: { journal: '/x', keep: { size: '64MiB' } } }, /^\/audit\/keep\/size: .*two segments/],
    [{ audit: { sinks: [{ name: 'a', type: 'stdout' }] } }, /^\/audit\/sinks: needs "journal"/],
    [
      { audit: { journal: 'j', sinks: [{ name: 'a', type: 'stdout', events: ['alerts'] }] } },
      /^\/audit\/sinks\/0\/events\/0: .*Did you mean "alert"/,
    ],
    [{ audit: { alerts: { threshold: 0 } } }, /^\/audit\/alerts/],
    [{ audit: { alerts: { window: 'soon' } } }, /^\/audit\/alerts/],
    [{ audit: { alerts: true } }, /^\/audit\/alerts/],
    [
      { audit: { onFailure: { write: 'alow' } } },
      /found "alow"; valid: "deny", "allow". Did you mean "allow"/,
    ],
    [{ limits: { body: '64mb' } }, /^\/limits\/body: found "64mb": expected a size such as "64MiB"/],
    [{ limits: { body: 10 } }, /at least 1024 bytes/],
    [{ limits: { body: '1GiB' } }, /more than limits.buffered/],
    [{ limits: { idle: 0 } }, /there is no "off"/],
    [{ limits: { idle: '60d' } }, /1ms to 24d/],
    [{ limits: { boddy: 1 } }, /^\/limits\/boddy: .*Did you mean "body"/],
    [{ limits: { jsonDepth: 0 } }, /^\/limits\/jsonDepth/],
    [{ listen: [] }, /at least one entry/],
    [{ listen: [{ url: 'tcp://0.0.0.0:1' }] }, /^\/listen\/0\/url: .*"insecure": true/],
    [{ listen: [{ url: 'tcp://[::]:1' }] }, /beyond loopback/],
    [{ listen: [{ url: 'tcp://myhost:1' }] }, /beyond loopback/],
    [{ listen: [{ url: 'tls://0.0.0.0:1' }] }, /^\/listen\/0\/tls: missing; a tls listener needs/],
    [{ listen: [{ url: 'tls://0.0.0.0:1', tls: { ...tls, clientAuth: 'required' } }] }, /needs "clientCa"/],
    [{ listen: [{ url: 'tls://0.0.0.0:1', tls, insecure: true }] }, /only means something for tcp/],
    [{ listen: [{ url: 'tcp://127.0.0.1:1', tls }] }, /only means something for tls/],
    [
      { listen: [{ url: 'tcp://127.0.0.1:1', mode: '0660' }] },
      /^\/listen\/0\/mode: only means something for unix/,
    ],
    [{ listen: [{ url: 'unix:///a', mode: '999' }] }, /octal/],
    [{ listen: [{ url: 'unix:///a', name: 'a b' }] }, /letters, digits/],
    [
      {
        listen: [
          { url: 'unix:///a', name: 'a' },
          { url: 'unix:///b', name: 'a' },
        ],
      },
      /^\/listen\/1\/name: the name "a" is used twice/,
    ],
    [{ listen: [{ url: 'unix:///a' }, { url: 'unix:///a' }] }, /used for two listeners/],
    [{ listen: [{ url: 'unix:///a' }], upstream: { url: 'unix:///a' } }, /^\/upstream\/url: .*circles/],
    [{ upstream: { url: 'unix:///a', tls: {} } }, /^\/upstream\/tls: only means something/],
    [{ upstream: { url: 'tls://a:1', tls: { cert: 'x' } } }, /needs both/],
    [{ upstream: { url: 'tcp://a:0' } }, /port 0/],
    [{ upstream: { maxConnections: 0 } }, /^\/upstream\/maxConnections/],
    [{ admin: { url: 'tcp://0.0.0.0:1' } }, /^\/admin\/url: .*"insecure": true/],
    [{ admin: { url: 'tls://127.0.0.1:1' } }, /plain HTTP/],
    [{ admin: 'off' }, /^\/admin: found "off"; expected/],
    [{ policy: [] }, /^\/policy: found an empty array/],
    [{ policy: 'x' }, /^\/policy: found "x"; expected an array/],
  ];
  for (const [document, expected] of cases) {
    const found = bad(t, document);
    t.equal(found.length, 1, JSON.stringify(found));
    t.match(found[0], expected);
  }
  t.match(loadConfig('/does/not/exist.json', NO_FLAGS), {
    ok: false,
    problems: [{ file: '/does/not/exist.json', message: /cannot be read/ }],
  });
  const directory = t.testdir({});
  mkdirSync(join(directory, 'd'));
  t.match(loadConfig(join(directory, 'd'), NO_FLAGS), { ok: false });
});

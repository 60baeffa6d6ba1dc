import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import t, { type Test } from 'tap';
import { runFeeds } from '../../src/cli/feeds.js';
import { addresses, serveFeeds } from '../feeds/feed-server.js';

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function sink(terminal: boolean): { stream: NodeJS.WritableStream; text: () => string } {
  let text = '';
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY: terminal }), text: () => text };
}

async function feeds(args: string[], terminal = false): Promise<Result> {
  const stdout = sink(false);
  const stderr = sink(terminal);
  const code = await runFeeds(args, { stdout: stdout.stream, stderr: stderr.stream });
  return { code, out: stdout.text(), err: stderr.text() };
}

/** A config file with these feeds, beside what `files` has. */
function configured(t: Test, section: object, files: Record<string, string> = {}): string {
  const directory = t.testdir(files);
  const path = join(directory, 'config.json');
  writeFileSync(path, JSON.stringify({ feeds: { state: 'state', ...section } }));
  return path;
}

const REPORT =
  'It loads hxxp://c2.evil[.]example/dock/main.sh from 198[.]51[.]100[.]66 (and asks dns[.]evil[.]example).\n';

await t.test('pull, list and lookup', async (t) => {
  const config = configured(
    t,
    { sources: [{ name: 'mine', url: 'file:report.txt' }] },
    { 'report.txt': REPORT },
  );
  const early = await feeds(['lookup', '198.51.100.66', '--config', config]);
  t.match(early, { code: 1, err: /there is no index in .*state; try breakwater feeds pull/ });
  t.match(await feeds(['list', '--config', config]), {
    code: 0,
    out: /mine +block +0 +never +never +no data[^]*no index yet/,
  });

  const pulled = await feeds(['pull', '--config', config]);
  t.match(pulled, {
    code: 0,
    out: /mine +fresh +3 indicators, report\nindex [0-9a-f]{12}: 3 indicators\n/,
    err: '',
  });
  t.match(await feeds(['pull', 'mine', '--config', config]), {
    code: 0,
    out: /mine +unchanged +3 indicators/,
  });
  t.match(await feeds(['list', '--config', config]), {
    code: 0,
    out: /mine +block +3 .* ok +file:.*\nindex [0-9a-f]{12}: 1 ipv4/,
  });

  const listed: [string, RegExp][] = [
    [
      '198.51.100.66',
      /^ipv4 198\.51\.100\.66 is listed: ipv4 198\.51\.100\.66, feed mine, block, confidence 75/,
    ],
    ['hxxp://198[.]51[.]100[.]66:8080/x', /^url .* is listed: ipv4 198\.51\.100\.66/],
    ['198.51.100.0/24', /is listed: ipv4 198\.51\.100\.66/],
    ['::ffff:198.51.100.66', /is listed: ipv4/],
    ['a.dns.evil.example', /^domain a\.dns\.evil\.example is listed: domain dns\.evil\.example/],
    ['http://c2.evil.example/dock/main.sh', /is listed: url c2\.evil\.example\/dock\/main\.sh/],
  ];
  for (const [indicator, expected] of listed) {
    t.match(await feeds(['lookup', indicator, '--config', config]), { code: 0, out: expected }, indicator);
  }
  for (const indicator of ['198.51.100.67', 'evil.example', '198.51.101.0/24', 'f'.repeat(64)]) {
    t.match(
      await feeds(['lookup', indicator, '--config', config]),
      { code: 1, out: / is not listed\n$/ },
      indicator,
    );
  }
  const json = await feeds(['lookup', '198.51.100.66', '--config', config, '--json']);
  t.match(JSON.parse(json.out), { listed: true, type: 'ipv4', hits: [{ feed: 'mine' }] });
  t.match(JSON.parse((await feeds(['list', '--config', config, '--json'])).out), {
    index: { ipv4: 1 },
    feeds: [{ name: 'mine', hasData: true, indicators: 3 }],
  });
});

await t.test('a feed that fails, and one that shrank', async (t) => {
  const server = await serveFeeds(t);
  const source = { name: 'c2', url: `${server.url}list?key=secret`, proxy: null };
  const config = configured(t, { sources: [source] });
  server.answer((_, response) => response.end(addresses(20)));
  const large = await feeds(['pull', '--config', config], true);
  t.match(large, { code: 0, out: /c2 +fresh +20 indicators, list/, err: /\r.*c2: 0\.0 MB/ });

  server.answer((_, response) => response.end(addresses(5)));
  t.match(await feeds(['pull', '--config', config]), {
    code: 0,
    out: /c2 +not asked +it may be asked again from 20.*--force/,
  });
  t.equal(server.seen.length, 1);
  const shrunk = await feeds(['pull', '--force', '--config', config]);
  t.match(shrunk, {
    code: 1,
    out: /c2 +FAILED +shrank from 20 to 5 indicators.*--accept-shrink c2\n.*: 20 indicators/,
  });
  const failed = JSON.parse((await feeds(['pull', '--force', '--json', '--config', config])).out) as unknown;
  t.match(failed, {
    ok: false,
    pulled: { c2: { outcome: 'failed', error: /shrank/ } },
    index: { feeds: [{ listed: 20 }] },
  });
  const list = await feeds(['list', '--config', config]);
  t.match(list, { code: 0, out: /failing +http:\/\/127\.0\.0\.1:\d+\/list\?…\nc2: shrank from 20 to 5/ });
  t.match(await feeds(['pull', '--accept-shrink', 'c2', '--config', config]), {
    code: 0,
    out: /c2 +fresh +5 indicators/,
  });
  t.notMatch(JSON.stringify([shrunk, failed, list]), 'secret');
});

await t.test('wrong usage', async (t) => {
  const config = configured(t, { sources: [{ name: 'mine', url: 'file:report.txt' }] });
  const none = join(t.testdirName, 'none.json');
  writeFileSync(none, '{}');
  const bad = join(t.testdirName, 'bad.json');
  writeFileSync(bad, '{"feeds": {"sources": [{"name": "x", "url": "x"}]}}');
  const cases: [string[], RegExp][] = [
    [[], /say what to do: pull, list or lookup/],
    [['push'], /there is no "push"/],
    [['lookup', '--config', config], /lookup takes one indicator/],
    [['lookup', 'a b', '--config', config], /"a b" is no address, prefix, domain, URL or hash/],
    [['list', 'x', '--config', config], /"x" is too much/],
    [['list', '--force', '--config', config], /go with pull/],
    [['pull', 'c2', '--config', config], /there is no feed "c2"; there are mine/],
    [['pull', '--accept-shrink', 'c2', '--config', config], /there is no feed "c2"/],
    [['list', '--config', none], /has no feeds/],
    [['list', '--config', bad], /bad\.json\/feeds\/sources\/0\/url: found "x"/],
    [['list', '--config', '/does/not/exist'], /cannot be read/],
    [['list', '--nope'], /^breakwater feeds: Unknown option '--nope'; try breakwater feeds --help\n$/],
  ];
  for (const [args, expected] of cases) {
    const result = await feeds(args);
    t.match(result, { code: 2, out: '', err: expected }, args.join(' '));
    t.equal(result.err.split('\n').length, 2, 'one line');
  }
  t.match(await feeds(['--help']), { code: 0, out: /--accept-shrink NAME/ });
});

await t.test('a damaged index', async (t) => {
  const config = configured(
    t,
    { sources: [{ name: 'mine', url: 'file:report.txt' }] },
    { 'report.txt': REPORT },
  );
  await feeds(['pull', '--config', config]);
  const path = join(t.testdirName, 'state/index.bin');
  writeFileSync(path, readFileSync(path).subarray(0, 100));
  await t.rejects(feeds(['lookup', '198.51.100.66', '--config', config]), /index|damaged/i);
  t.match(await feeds(['pull', '--config', config]), { code: 0 }, 'a pull builds it anew');
  t.match(await feeds(['lookup', '198.51.100.66', '--config', config]), { code: 0 });
});

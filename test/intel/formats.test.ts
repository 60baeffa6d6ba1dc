import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { FORMATS, type FormatName } from '../../src/intel/formats/format.js';
import { parseMispManifest } from '../../src/intel/formats/misp.js';
import { isFormatName, parseFeed } from '../../src/intel/formats/parse.js';
import { parseStixObjects, parseTaxiiEnvelope } from '../../src/intel/formats/stix.js';
import { readStixPattern } from '../../src/intel/formats/stix-pattern.js';
import { epochSeconds } from '../../src/intel/formats/times.js';
import { MD5, NOW, SAMPLES, SHA1, SHA256 } from './samples.js';

/** What a feed reads as, in short: `type:value`, with `#port` where there is one. */
function read(text: string, format: FormatName | 'auto' = 'auto') {
  const feed = parseFeed(text, format, NOW);
  const indicators = [...feed.indicators];
  const values = indicators.map(({ type, value, port }) => `${type}:${value}${port === 0 ? '' : `#${port}`}`);
  const { rejected, skipped, problems, failure } = feed;
  return { format: feed.format, indicators, values, rejected, skipped, problems, failure };
}

t.test('each format is detected by its content and read, traps included', (t) => {
  t.same(
    [...new Set(SAMPLES.map(({ format }) => format))].sort(),
    [...FORMATS].sort(),
    'every format has a sample',
  );
  for (const { format, title, text, values, rejected = 0, skipped = 0, problem } of SAMPLES) {
    t.test(`${format}: ${title}`, (t) => {
      for (const name of [format, 'auto'] as const) {
        const feed = read(text, name);
        t.equal(feed.format, format, `${name}: format`);
        t.same(feed.values, values, `${name}: values`);
        t.match(feed, { failure: undefined, rejected, skipped }, `${name}: counts`);
        if (problem !== undefined) t.match(feed.problems.join('\n'), problem);
        else t.same(feed.problems, []);
      }
      t.same(read(`\ufeff${text.replaceAll('\n', '\r\n')}`).values, values, 'byte order mark, CRLF');
      t.end();
    });
  }
  t.end();
});

t.test('attributes of entries are kept', (t) => {
  const [fox] = read(
    '# "first_seen_utc", "ioc_value", "ioc_type", "malware_printable", "last_seen_utc", "confidence_level"\n' +
      '"2026-08-01 10:00:00", "198.51.100.4:80", "ip:port", "Example  Bot", "None", "75"\n',
  ).indicators;
  t.same(fox, {
    type: 'ipv4',
    value: '198.51.100.4',
    confidence: 75,
    firstSeen: Date.UTC(2026, 7, 1, 10) / 1000,
    lastSeen: 0,
    expires: 0,
    threat: 'Example Bot',
    port: 80,
  });
  const [iprep] = read('198.51.100.7,3,127\n').indicators;
  t.match(iprep, { confidence: 100, threat: 'category 3' });
  for (const [text, seconds] of [
    ['2026-08-01', Date.UTC(2026, 7, 1) / 1000],
    ['2026-08-01 10:00:00 UTC', Date.UTC(2026, 7, 1, 10) / 1000],
    ['2026-08-01T10:00:00.123Z', Date.UTC(2026, 7, 1, 10) / 1000],
    ['2026-08-01T10:00:00+02:00', Date.UTC(2026, 7, 1, 8) / 1000],
    ['1785578400', 1_785_578_400],
    ['1785578400000', 1_785_578_400],
    ['2026-13-01', 0],
    ['yesterday', 0],
    ['', 0],
  ] as const) {
    t.equal(epochSeconds(text), seconds, text);
  }
  t.end();
});

t.test('a truncated text, or one of another format, is refused as a whole', (t) => {
  const failures: readonly (readonly [
    title: string,
    format: FormatName | 'auto',
    text: string,
    failure: RegExp,
  ])[] = [
    ['nothing', 'auto', '', /no known format.*feodo-json/],
    ['only comments', 'auto', '# nothing\n', /no known format/],
    [
      'a web page',
      'auto',
      '<html><body>Your address is 198.51.100.7, please log in here</body></html>',
      /no known format/,
    ],
    ['prose without marks', 'auto', 'The server 198.51.100.7 is ours and fine.', /no known format/],
    ['an error of an API', 'auto', '{"error":"unauthorized"}', /no known format/],
    ['an error of an API, named', 'threatfox-json', '{"query_status":"no_result"}', /no entries/],
    [
      'a warninglist: what it lists is harmless',
      'auto',
      '{"name":"x","type":"cidr","version":1,"list":["198.51.100.0/24"]}',
      /no known format/,
    ],
    [
      'a MISP manifest',
      'auto',
      '{"5f2b7c1d-0000-4000-8000-000000000000":{"info":"x","timestamp":"1785578400"}}',
      /no known format/,
    ],
    [
      'two lists in one document',
      'auto',
      '{"data":[{"ip":"198.51.100.7"}],"results":[{"ip":"198.51.100.8"}]}',
      /no known format/,
    ],
    [
      'JSON cut short',
      'feodo-json',
      '[{"ip_address":"198.51.100.7","port":1,"status":"online","last_online":"","malware":"x"},{"ip',
      /ends early/,
    ],
    ['a bundle cut short', 'stix', '{"type":"bundle","objects":[', /ends early/],
    ['brackets that do not match', 'json', '["198.51.100.7"}', /comma is missing/],
    [
      'fewer networks than announced',
      'drop-json',
      '{"cidr":"198.51.100.0/24","sblid":"SBL1"}\n{"type":"metadata","records":2}',
      /2 networks are announced, 1 came/,
    ],
    [
      'a column is missing',
      'feodo-csv',
      'first_seen_utc,dst_ip,dst_port,last_online,malware\n2026-08-01,198.51.100.7,443,2026-08-01,x\n',
      /line 1: no header.*c2_status/,
    ],
    ['no header', 'urlhaus-csv', '"1","2026-08-01","http://evil.example/a","online"\n', /no header/],
    ['a quote without end', 'csv', 'ip,name\n198.51.100.7,"x\n', /line 2: a quote is never closed/],
  ];
  for (const [title, format, text, failure] of failures) t.match(read(text, format).failure, failure, title);
  t.match(read('domain,198.51.100.7\n', 'csv').values, []);
  t.notOk(isFormatName('constructor'));
  t.end();
});

t.test('columns count by name, rows only when they fit the header', (t) => {
  const moved = read(
    '# url_status,url,id,dateadded\nonline,http://evil.example/a,1,2026-08-01\nhttp://evil.example/b\n',
  );
  t.match(moved, { format: 'urlhaus-csv', values: ['url:evil.example/a'], rejected: 1 });
  t.same(moved.problems, ['line 3: 1 fields where the header has 4']);
  const lines = read(
    'ip,comment\n198.51.100.7,"two\nlines, ""quoted"""\n198.51.100.8,"a"b\n198.51.100.9,ok\n',
  );
  t.same(lines.values, ['ipv4:198.51.100.7', 'ipv4:198.51.100.9']);
  t.same(lines.problems, ['line 4: text follows a closing quote']);
  t.end();
});

t.test('problems are few, short, and cannot forge a line of a log', (t) => {
  const bad = read(`198.51.100.7\n${'not!a!value\u001b[2J\u2028x\n'.repeat(30)}`, 'list');
  t.equal(bad.rejected, 30);
  t.equal(bad.problems.length, 20);
  t.equal(bad.problems[0], 'line 2: "not!a!value\ufffd[2J\ufffdx" is not one value');
  const long = read(`${'a'.repeat(70_000)}\n198.51.100.7\n`, 'list');
  t.match(long, { rejected: 1, values: ['ipv4:198.51.100.7'] });
  t.match(read('nothing here\n'.repeat(60_000), 'list').failure, /over 50000 entries cannot be read/);
  t.end();
});

t.test('STIX patterns: only values that suffice on their own', (t) => {
  const a = "ipv4-addr:value = '198.51.100.7'";
  const d = "domain-name:value = 'c2.evil.example'";
  const cases: readonly (readonly [pattern: string, values: readonly string[]])[] = [
    [`[${a}]`, ['198.51.100.7']],
    [`[${a} OR ${d}]`, ['198.51.100.7', 'c2.evil.example']],
    [`[${a}] OR [${d}]`, ['198.51.100.7', 'c2.evil.example']],
    [`[${a} AND ${d}]`, []],
    [`[${a}] AND [${d}]`, []],
    [`[${a}] FOLLOWEDBY [${d}]`, []],
    [`([${a}] FOLLOWEDBY [${d}]) WITHIN 5 SECONDS`, []],
    [`[${a}] OR ([${d}] FOLLOWEDBY [${a}])`, ['198.51.100.7']],
    [`[${a}] WITHIN 300 SECONDS`, ['198.51.100.7']],
    [`[${a}] REPEATS 5 TIMES WITHIN 300 SECONDS`, []],
    [`[${a}] START t'2026-01-01T00:00:00Z' STOP t'2026-02-01T00:00:00Z'`, []],
    ["[ipv4-addr:value NOT = '198.51.100.7']", []],
    ["[ipv4-addr:value != '198.51.100.7']", []],
    ["[domain-name:value LIKE '%.evil.example']", []],
    ["[url:value MATCHES '^https?://evil']", []],
    ["[ipv4-addr:value NOT IN ('198.51.100.7')]", []],
    ["[ipv4-addr:value IN ('198.51.100.7', '198.51.100.8')]", ['198.51.100.7', '198.51.100.8']],
    ["[ipv4-addr:value ISSUBSET '198.51.100.0/24']", ['198.51.100.0/24']],
    ["[ipv4-addr:value ISSUPERSET '198.51.100.0/24']", []],
    ["[ipv6-addr:value = '2001:DB8:0::1']", ['2001:db8::1']],
    [`[file:hashes.'SHA-256' = '${SHA256}' OR file:hashes.MD5 = '${MD5}']`, [SHA256, MD5]],
    [`[file:hashes."SHA-1" = '${SHA1.toUpperCase()}']`, [SHA1]],
    [`[file:hashes.MD5 = '${MD5}' AND file:size = 25536]`, []],
    ["[file:name = 'main.sh']", []],
    ['[EXISTS url:value]', []],
    [`[(${a} OR ${d}) AND network-traffic:dst_port = 443]`, ['198.51.100.7#443', 'c2.evil.example#443']],
    [
      "[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '198.51.100.7' AND network-traffic:protocols[*] = 'tcp']",
      ['198.51.100.7'],
    ],
    [`[${a} AND (${d} OR network-traffic:dst_port = 443)]`, []],
    ["[url:value = 'http://evil.example/it\\'s']", ["evil.example/it's"]],
    ["[x-odd:extensions.'a-b'.list[0].c = h'00ff']", []],
  ];
  for (const [pattern, values] of cases) {
    const found = readStixPattern(pattern);
    const texts =
      typeof found === 'string'
        ? found
        : found.map(({ value, port }) => value + (port === 0 ? '' : `#${port}`));
    t.same(texts, values, pattern);
  }
  for (const broken of [
    '',
    '[',
    `[${a}`,
    `${a}`,
    `[${a}] OR`,
    `[${a} XOR ${d}]`,
    "[ipv4-addr:value = 'x']",
    "[url:value = 'x",
    '[ipv4-addr:value = 5',
    `${'('.repeat(100_000)}[${a}]`,
  ]) {
    t.type(readStixPattern(broken), 'string', broken.slice(0, 40));
  }
  t.end();
});

t.test('STIX: the newest version counts, times and revocations are honoured', (t) => {
  const base = {
    type: 'indicator',
    id: 'indicator--1',
    pattern_type: 'stix',
    pattern: "[ipv4-addr:value = '198.51.100.7']",
    valid_from: '2026-01-01T00:00:00Z',
    modified: '2026-01-01T00:00:00.000Z',
  };
  const values = (...objects: object[]): string[] =>
    [...parseStixObjects(objects, NOW).indicators].map(({ value }) => value);
  t.same(values(base), ['198.51.100.7']);
  t.same(values(base, { ...base, modified: '2026-01-01T00:00:00.001Z', revoked: true }), []);
  t.same(
    values(
      { ...base, modified: '2026-01-02T00:00:00Z', pattern: "[ipv4-addr:value = '198.51.100.8']" },
      base,
    ),
    ['198.51.100.8'],
  );
  t.same(values({ ...base, valid_until: '2026-02-01T00:00:00Z' }), [], 'expired');
  t.same(values({ ...base, valid_from: '2099-01-01T00:00:00Z' }), [], 'not yet');
  t.same(values({ ...base, pattern_type: 'sigma' }), []);
  t.same(values({ ...base, indicator_types: ['benign'] }), []);
  t.same(values({ ...base, valid_until: 'soon' }), []);
  const [kept] = parseStixObjects(
    [{ ...base, valid_until: '2099-01-01T00:00:00Z', confidence: 0, name: 'x' }],
    NOW,
  ).indicators;
  t.match(kept, {
    confidence: 0,
    expires: Date.UTC(2099, 0) / 1000,
    firstSeen: Date.UTC(2026, 0) / 1000,
    threat: 'x',
  });
  t.end();
});

t.test('TAXII envelopes and MISP manifests', (t) => {
  t.same(parseTaxiiEnvelope('{}'), { objects: [], more: false, next: '' });
  t.same(parseTaxiiEnvelope('{"more":true,"next":"7","objects":[{"id":"x"}]}'), {
    objects: [{ id: 'x' }],
    more: true,
    next: '7',
  });
  for (const bad of [
    '',
    '[]',
    '{"objects":{}}',
    '{"title":"Forbidden","http_status":"403"}',
    '{"objects":[',
  ]) {
    t.type(parseTaxiiEnvelope(bad), 'string', bad);
  }
  const [a, b] = ['5f2b7c1d-0000-4000-8000-00000000000A', '5f2b7c1d-0000-4000-8000-00000000000b'];
  t.same(
    parseMispManifest(`{"${a}":{"timestamp":"1785578400","info":"x"},"${b}":{"timestamp":1785578401}}`),
    [
      { uuid: b, timestamp: 1_785_578_401 },
      { uuid: a.toLowerCase(), timestamp: 1_785_578_400 },
    ],
  );
  t.same(parseMispManifest('{}'), []);
  for (const bad of [
    '',
    '[',
    '{"../../etc/passwd":{"timestamp":"1785578400"}}',
    `{"${a}":{}}`,
    `{"${a}":{"timestamp":"1785578400"}`,
  ]) {
    t.type(parseMispManifest(bad), 'string', bad);
  }
  t.end();
});

t.test('a report as vendors publish it', (t) => {
  const text = readFileSync('test/intel/fixtures/report.txt', 'utf8');
  const { format, values } = read(text);
  t.equal(format, 'report');
  t.same(values, [
    'url:198.51.100.66/dock/main.sh',
    'ipv4:198.51.100.66',
    'domain:c2.evil.example#8443',
    'url:pool.c2.evil.example/login?id=dock',
    'domain:c2.evil.example',
    'hash:5f2b7c1de8a94036b1c7d2e0f4a8935c6e7d1b20a9f3c4e5d6b7a8091c2d3e4f',
    'hash:9b1d3f5a7c8e0246813579bdf02468ac',
  ]);
  t.end();
});

t.test('prose: only defanged values, in all spellings', (t) => {
  const prose = (text: string): string[] => read(`Our report says ${text} and no more.`, 'report').values;
  for (const mark of [
    '[.]',
    '(.)',
    '{.}',
    '[dot]',
    '(dot)',
    '[ . ]',
    '( DOT )',
    '{dot}',
    '[.',
    '.]',
    '\\[.\\]',
  ]) {
    t.same(prose(`c2${mark}evil.example`), ['domain:c2.evil.example'], mark);
  }
  for (const scheme of [
    'hxxp://',
    'hXXps://',
    'http[:]//',
    'https[://]',
    'hxxp[:]//',
    'h**p://',
    'ftp[:]//',
  ]) {
    t.same(prose(`${scheme}evil.example/a`), ['url:evil.example/a'], scheme);
  }
  for (const [text, values] of [
    ['install.sh, setup.py, evil.example and https://vendor.example/report.html', []],
    ['write to soc[at]vendor[.]example or soc@vendor[.]example', []],
    ['victim 10.1.2.3, 127.0.0.1, 192.168.0.0/16 and fe80::1', []],
    ['version 6.21.0.1, v1.2.3.4, 12:30:45, std::dead::beef', []],
    ['198.51.100.7.', ['ipv4:198.51.100.7']],
    [
      '(198.51.100.7), "198.51.100.0/24"; C2:198.51.100.8:443',
      ['ipv4:198.51.100.7', 'ipv4:198.51.100.0/24', 'ipv4:198.51.100.8#443'],
    ],
    ['[2001:db8::7]:443 2001:db8::8', ['ipv6:2001:db8::7#443', 'ipv6:2001:db8::8']],
    ['10[.]9[.]8[.]7', ['ipv4:10.9.8.7']],
    ['http://198.51.100.7/a', ['ipv4:198.51.100.7']],
    [`sha256:${SHA256}`, [`hash:${SHA256}`]],
    [`**${MD5}**, \`${SHA1}\``, [`hash:${MD5}`, `hash:${SHA1}`]],
    ['[hxxp://evil[.]example/a](https://vendor.example/)', ['url:evil.example/a']],
    ['evil[.]example,c2[.]example', ['domain:evil.example', 'domain:c2.example']],
    ['[see setup.py.]', []],
  ] as const) {
    t.same(prose(text), values, text);
  }
  t.same(
    read(
      '<!doctype html><html><head><title>x</title></head><body><script>a="x[.]example"</script><!-- y[.]example --><p title="z[.]example">198.51<b>[.]</b>100.7</p><td>evil&#91;.&#93;example</td><td>80</td> from here</body></html>',
    ).values,
    ['ipv4:198.51.100.7', 'domain:evil.example'],
  );
  t.end();
});

const address = fc.ipV4().filter((text) => !text.startsWith('0.'));
const name = fc
  .tuple(fc.stringMatching(/^[a-z][a-z0-9]{1,10}$/), fc.stringMatching(/^[a-z][a-z0-9]{1,10}$/))
  .map(([a, b]) => `${a}.${b}.example`);

t.test('generated lists: the format is found, and every value comes back', (t) => {
  const writers: Readonly<
    Record<string, (addresses: string[], names: string[]) => readonly [string, string[]]>
  > = {
    list: (ips, names) => [
      [...ips, ...names].join('\n'),
      [...ips.map((ip) => `ipv4:${ip}`), ...names.map((one) => `domain:${one}`)],
    ],
    hosts: (_, names) => [
      names.map((one) => `0.0.0.0 ${one}`).join('\n'),
      names.map((one) => `domain:${one}`),
    ],
    adblock: (_, names) => [names.map((one) => `||${one}^`).join('\n'), names.map((one) => `domain:${one}`)],
    rpz: (_, names) => [
      `$TTL 60\n@ SOA a. b. 1 2 3 4 5\n${names.map((one) => `${one} CNAME .`).join('\n')}`,
      names.map((one) => `domain:${one}`),
    ],
    iprep: (ips) => [ips.map((ip) => `${ip},1,90`).join('\n'), ips.map((ip) => `ipv4:${ip}`)],
    csv: (ips) => [
      `"IP","Note"\n${ips.map((ip) => `"${ip}","a, ""b"""`).join('\n')}`,
      ips.map((ip) => `ipv4:${ip}`),
    ],
    json: (ips) => [
      JSON.stringify(ips.map((ip) => ({ ip, __proto__x: [[{}]] }))),
      ips.map((ip) => `ipv4:${ip}`),
    ],
    'drop-json': (ips) => [
      ips.map((cidr) => JSON.stringify({ cidr, sblid: 'SBL1' })).join('\n'),
      ips.map((ip) => `ipv4:${ip}`),
    ],
    stix: (ips) => [
      JSON.stringify({
        type: 'bundle',
        objects: ips.map((ip, i) => ({
          type: 'indicator',
          id: `indicator--${i}`,
          pattern: `[ipv4-addr:value = '${ip}']`,
        })),
      }),
      ips.map((ip) => `ipv4:${ip}`),
    ],
    report: (_, names) => [
      `The report names these domains:\n${names.map((one) => one.replaceAll('.', '[.]')).join(' and ')}`,
      names.map((one) => `domain:${one}`),
    ],
  };
  for (const [format, write] of Object.entries(writers)) {
    fc.assert(
      fc.property(
        fc.uniqueArray(address, { minLength: 1 }),
        fc.uniqueArray(name, { minLength: 1 }),
        (ips, names) => {
          const [text, values] = write(ips, names);
          const feed = read(text);
          t.equal(feed.format, format);
          t.same([...feed.values].sort(), values.sort());
        },
      ),
      { numRuns: 30 },
    );
  }
  t.end();
});

t.test('no text makes any format throw or yield a value that is not canonical', (t) => {
  const piece = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.json(),
    fc.constantFrom(...SAMPLES.flatMap(({ text }) => text.split(/(?<=[\n,;:{}[\]"' ])/))),
    fc.constantFrom('__proto__', 'constructor', '\0', '"', '{', '[', '\\', "'", '\ue000', '[.]'),
  );
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 40 }),
      fc.constantFrom('auto' as const, ...FORMATS),
      (pieces, format) => {
        const feed = read(pieces.join(''), format);
        for (const { type, value, threat, port } of feed.indicators) {
          if (value === '' || threat.length > 64 || port < 0 || port > 65_535) t.fail(`${type} ${value}`);
        }
        if (feed.problems.length > 20) t.fail('too many problems');
      },
    ),
    { numRuns: 2_000 },
  );
  t.end();
});

t.test('time stays linear in hostile texts', (t) => {
  const pieces = [
    '[',
    '{"a":',
    '"',
    '"a\n',
    '\0',
    'a.',
    ':',
    '<!--',
    "<p '",
    '<script>',
    '[.]',
    '\\',
    ',',
    '1.1.1.1-',
    'http://1.1.1.1',
    '@@||a.b.c^\n',
    '[],',
    '{}\n',
    '1',
    '(',
  ];
  const slow: string[] = [];
  for (const piece of pieces) {
    const text = `<html>${piece.repeat(200_000 / piece.length)}`;
    for (const format of ['auto', ...FORMATS] as const) {
      for (const body of format === 'report' ? [text, text.slice(6)] : [text.slice(6)]) {
        const started = process.hrtime.bigint();
        read(body, format);
        // Quadratic is minutes here; linear is at most tenths of a second, on a busy machine too.
        if (process.hrtime.bigint() - started > 10_000_000_000n) slow.push(`${format} on ${piece}`);
      }
    }
  }
  t.same(slow, []);
  t.end();
});

import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import t from 'tap';
import { formatIpv4, formatIpv6, parseIpv6, parseLooseIpv4, type Words } from '../../src/base/address.js';
import { parsePrefix, rangeToPrefixes } from '../../src/base/network.js';
import { formatHost, parseUrl, readHost, splitPort } from '../../src/intel/canonical-host.js';
import { canonicalUrl, readUrl } from '../../src/intel/canonical-url.js';
import { canonicalIndicator, guessType, readIndicator } from '../../src/intel/canonical.js';

/** Parts of IPv4 addresses as anybody might write them, right and wrong. */
const part = fc.oneof(
  fc.nat(300).map(String),
  fc.nat(2 ** 33).map(String),
  fc.nat(300).map((n) => `0${n.toString(8)}`),
  fc.nat(2 ** 33).map((n) => `0x${n.toString(16)}`),
  fc.nat(300).map((n) => `0X${n.toString(16).toUpperCase()}`),
  fc.constantFrom('', '0', '00', '08', '0x', '0xg', '1a', '-1', '+1', ' 1'),
);
const address = fc.array(part, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('.'));

t.test('IPv4 in the place of a host: what the URL standard reads', async (t) => {
  let compared = 0;
  fc.assert(
    fc.property(address, fc.constantFrom('', '.'), (text, dot) => {
      const url = parseUrl(`http://${text}${dot}/`)?.hostname;
      const host = readHost(text.replace(/ /g, '%20') + dot);
      if (url === undefined) return host === undefined || host.kind === 'domain';
      const name = url.replace(/\.+$/, '');
      // Names with an empty label resolve nowhere, whatever is made of them.
      if (/^\.|\.\.|^$/.test(url)) return true;
      compared += 1;
      return host !== undefined && formatHost(host) === name;
    }),
    { numRuns: 20_000 },
  );
  t.ok(compared > 2_000, `${compared} addresses were read by both`);
});

t.test('IPv4: what inet_aton of this machine reads', async (t) => {
  // The C library takes anything behind a blank, which no host has, and `0x` alone for no number.
  const texts = fc.sample(address, 5000).filter((text) => !/\s/.test(text));
  const script = [
    'import socket, sys',
    'for line in sys.stdin.read().split("\\n"):',
    '    try: print(int.from_bytes(socket.inet_aton(line), "big"))',
    '    except OSError: print("none")',
  ].join('\n');
  const python = spawnSync('python3', ['-c', script], { input: texts.join('\n'), encoding: 'utf8' });
  t.equal(python.status, 0, python.stderr);
  const read = python.stdout.trim().split('\n');
  t.equal(read.length, texts.length);
  let numbers = 0;
  for (const [i, text] of texts.entries()) {
    if (/(?:^|\.)0x(?:\.|$)/i.test(text)) continue;
    const ours = parseLooseIpv4(text);
    if (ours !== undefined) numbers++;
    if (String(ours ?? 'none') !== read[i]) t.fail(`${text}: inet_aton ${read[i]}, here ${ours}`);
  }
  t.ok(numbers > 500, 'many of them are addresses');
});

const words = fc
  .array(fc.oneof(fc.constantFrom(0, 1, 0xffff, 0xffffffff), fc.nat(0xffffffff)), {
    minLength: 4,
    maxLength: 4,
  })
  .map((list) => list as unknown as Words);

t.test('IPv6: reads what it writes, writes what the URL standard writes', async () => {
  fc.assert(
    fc.property(words, (value) => {
      const text = formatIpv6(value);
      return (
        JSON.stringify(parseIpv6(text)) === JSON.stringify(value) &&
        new URL(`http://[${text}]/`).hostname === `[${text}]`
      );
    }),
    { numRuns: 5000 },
  );
  const piece = fc.constantFrom('0', '1', 'ab', 'ffff', '12345', 'g', ':', '::', '.', '1.2.3.4', '');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), fc.constantFrom('', ':'), (pieces, glue) => {
      const text = pieces.join(glue);
      const url = parseUrl(`http://[${text}]/`)?.hostname;
      const ours = parseIpv6(text);
      return (ours === undefined ? undefined : `[${formatIpv6(ours)}]`) === url;
    }),
    { numRuns: 20_000 },
  );
});

t.test('hosts', async (t) => {
  const same: Readonly<Record<string, readonly string[]>> = {
    '198.51.100.7': [
      ...[
        '3325256711',
        '0xc6336407',
        '0306.063.0144.07',
        '198.51.25607',
        '0xc6.0x33.25607',
        '198.51.100.7.',
        '198.51.100.7...',
      ],
      ...[
        '１９８.51.100.7',
        '198。51．100｡7',
        '%31%39%38.51.100.7',
        '[::ffff:198.51.100.7]',
        '::ffff:c633:6407',
      ],
      ...[
        '::c633:6407',
        '::ffff:0:c633:6407',
        '64:ff9b::c633:6407',
        '2002:c633:6407::1',
        '2002:C633:6407:1:2:3:4:5',
        '198.51\t.100.7',
      ],
    ],
    'evil.example': [
      ...[
        'EVIL.example',
        'evil.example.',
        'evil.example..',
        'ｅｖｉｌ.example',
        'evil。example',
        '%65vil.example',
        'ev\nil.example',
      ],
      'e\u00advil.example',
    ],
    'xn--e1afmkfd.example': [
      'пример.example',
      'ПРИМЕР.example',
      'xn--e1afmkfd.example',
      'XN--E1AFMKFD.EXAMPLE',
    ],
    '2001:db8::7': [
      '2001:DB8:0:0:0:0:0:7',
      '[2001:db8::7]',
      'fe80::7%eth0'.replace('fe80', '2001:db8'),
      '2001:db8::0.0.0.7',
    ],
    _dmarc: ['_DMARC'],
  };
  for (const [canonical, spellings] of Object.entries(same)) {
    for (const text of [canonical, ...spellings]) {
      const host = readHost(text);
      t.equal(host && formatHost(host), canonical, text);
    }
  }
  const none = [
    '',
    '.',
    'a..b',
    '.a',
    'a/b',
    'a b',
    'a:80',
    'a@b',
    '1.2.3.4.5',
    '256.1.1.1',
    '1.2.3.0x',
    'a#b',
    '[a]',
    '[1.2.3.4]',
  ];
  none.push(
    '::1::',
    ':::',
    '1:2:3:4:5:6:7',
    '%',
    '%2f',
    'a%00b',
    'x'.repeat(64),
    'é'.repeat(3000),
    `${'a.'.repeat(127)}a`,
  );
  for (const text of none.filter((one) => one !== '1.2.3.0x'))
    t.equal(readHost(text), undefined, text.slice(0, 40));
  t.strictSame(splitPort('a:80'), { host: 'a', port: 80 });
  t.strictSame(splitPort('[::1]:65535'), { host: '[::1]', port: 65_535 });
  t.strictSame(splitPort('::1'), { host: '::1', port: 0 });
  t.strictSame(splitPort('a:65536'), { host: 'a:65536', port: 0 });
});

t.test('URLs: host and path as the URL standard has them', async (t) => {
  const piece = fc.constantFrom(
    ...[
      'a',
      'b.c',
      '1',
      '0x7f',
      '/',
      '\\',
      '@',
      ':',
      ':80',
      ':8080',
      '?',
      '#',
      '%61',
      '%2f',
      '%2e',
      '.',
      '..',
      '/../',
      ' ',
      '\t',
    ],
    ...['。', 'é', 'Ä', '-', '_', '//', '[::1]', '%', '&', ';'],
  );
  let compared = 0;
  fc.assert(
    fc.property(
      fc.constantFrom('http://', 'HTTPS:\\\\', 'http:/', 'ftp://'),
      fc.array(piece, { maxLength: 10 }),
      (scheme, pieces) => {
        const text = scheme + pieces.join('');
        const url = parseUrl(text);
        if (url === undefined) return true;
        compared += 1;
        const ours = readUrl(text);
        const host = readHost(url.hostname);
        // Names with an empty label resolve nowhere.
        if (host === undefined) return ours === undefined;
        return ours !== undefined && formatHost(ours.host) === formatHost(host);
      },
    ),
    { numRuns: 30_000 },
  );
  t.ok(compared > 4_000, `${compared} URLs were read by both`);
  const table: Readonly<Record<string, readonly string[]>> = {
    'evil.example/': [
      'http://evil.example',
      'https://EVIL.example:443/',
      'evil.example/',
      '//evil.example',
      'http://evil.example/?',
      'hxxp://evil.example#x',
    ],
    'evil.example/a/b?c=d': [
      ...[
        'http://evil.example/a/b?c=d',
        'ftp://u:p@evil.example:21/a/b?c=d',
        'http:\\\\evil.example\\a\\b?c=d',
        'http:evil.example/a/b?c=d',
      ],
      ...[
        'http://evil.example/%61/./b?%63=d',
        'http://evil.example/x/../a/b?c=d#e',
        'http://evil.example/x/%2e%2E/a/b?c=d',
        ' http://evil.exa\tmple./a/b?c=d\n',
      ],
    ],
    '198.51.100.7:8080/x': [
      'http://3325256711:8080/x',
      'tcp://[::ffff:c633:6407]:8080/x',
      'http://0xc6.0x33.0x64.7:8080/%78',
    ],
    '[2001:db8::7]:81/x': ['git://[2001:db8:0::7]:81/x'],
    'evil.example/%25aa': ['http://evil.example/%a%61', 'http://evil.example/%25%61a'],
    'evil.example/%2F%20%C3%A9|': ['http://evil.example/%2f%20é|', 'http://evil.example/%2f %c3%a9%7c'],
  };
  for (const [canonical, spellings] of Object.entries(table)) {
    for (const text of [canonical, ...spellings])
      t.equal(canonicalUrl(text), canonical, JSON.stringify(text));
  }
  for (const text of [
    '',
    'http://',
    'http:///',
    '/a',
    'http://a b/',
    'http://h:99999/',
    `http://h/${'a'.repeat(2048)}`,
  ]) {
    t.equal(canonicalUrl(text), undefined, text.slice(0, 30));
  }
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const once = canonicalUrl(`http://${pieces.join('')}`);
      return once === undefined || canonicalUrl(once) === once;
    }),
    { numRuns: 20_000 },
  );
});

t.test('prefixes and ranges', async (t) => {
  const read = (text: string) => canonicalIndicator(text.includes(':') ? 'ipv6' : 'ipv4', text);
  t.equal(read('198.51.100.7/24'), '198.51.100.0/24');
  t.equal(read('198.51.100.7/32'), '198.51.100.7');
  t.equal(read('0.0.0.0/0'), '0.0.0.0/0');
  t.equal(read('2001:db8:1::/32'), '2001:db8::/32');
  t.equal(read('2001:db8::/128'), '2001:db8::');
  t.equal(canonicalIndicator('ipv4', '::ffff:198.51.100.7/120'), '198.51.100.0/24');
  t.equal(canonicalIndicator('ipv4', '2002:c633:6400::/40'), '198.51.100.0/24');
  t.equal(canonicalIndicator('ipv6', '::ffff:198.51.100.7'), undefined, 'this is IPv4');
  t.equal(read('001.002.003.004'), '1.2.3.4');
  for (const text of [
    '1.2.3',
    '010.1.1.1',
    '1.2.3.08',
    '0x1.2.3.4',
    '1.2.3.4/33',
    '1.2.3.4/',
    '1.2.3.4/01',
    '1.2.3.4/+8',
    '::/129',
    'fe80::1%eth0',
  ]) {
    t.equal(read(text), undefined, text);
  }
  t.strictSame(rangeToPrefixes('198.51.100.1', '198.51.100.6'), [
    ...['198.51.100.1', '198.51.100.2/31', '198.51.100.4/31', '198.51.100.6'],
  ]);
  t.strictSame(rangeToPrefixes('0.0.0.0', '255.255.255.255'), ['0.0.0.0/0']);
  t.strictSame(rangeToPrefixes('2001:db8::', '2001:db8::2'), ['2001:db8::/127', '2001:db8::2']);
  for (const [a, b] of [
    ['1.1.1.2', '1.1.1.1'],
    ['1.1.1.1', '::5:1'],
    ['x', '1.1.1.1'],
    ['1.1.1.0/24', '1.1.2.0'],
  ] as const) {
    t.equal(rangeToPrefixes(a, b), undefined, `${a}-${b}`);
  }
  fc.assert(
    fc.property(fc.nat(0xffffffff), fc.nat(0xffffffff), (x, y) => {
      const [from, to] = [Math.min(x, y), Math.max(x, y)];
      let next = from;
      for (const text of rangeToPrefixes(formatIpv4(from), formatIpv4(to))!) {
        const prefix = parsePrefix(text)!;
        if (prefix.family !== 4 || prefix.address !== next) return false;
        next += 2 ** (32 - prefix.bits);
      }
      return next === to + 1;
    }),
  );
});

t.test('indicators without a type', async (t) => {
  const table: readonly (readonly [string, string, string])[] = [
    ['hxxp://198[.]51[.]100[.]7/a', 'url', '198.51.100.7/a'],
    ['evil[.]example', 'domain', 'evil.example'],
    ['*.Evil.example.', 'domain', 'evil.example'],
    ['198.51.100.0/24', 'ipv4', '198.51.100.0/24'],
    ['[2001:db8::7]', 'ipv6', '2001:db8::7'],
    [`sha256:${'AB'.repeat(32)}`, 'hash', 'ab'.repeat(32)],
    ['d41d8cd98f00b204e9800998ecf8427e', 'hash', 'd41d8cd98f00b204e9800998ecf8427e'],
  ];
  for (const [text, type, value] of table) {
    t.strictSame(readIndicator(text), { type, value }, text);
    t.equal(guessType(text), type);
  }
  t.equal(readIndicator('not an indicator'), undefined);
});

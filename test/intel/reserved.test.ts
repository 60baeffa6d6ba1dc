import t from 'tap';
import { readIndicator } from '../../src/intel/canonical.js';
import { readExceptions } from '../../src/intel/exceptions.js';
import { admit } from '../../src/intel/reserved.js';

t.test('reserved values that no feed may list', async (t) => {
  const { exceptions: allow, unreadable } = readExceptions([
    ...[
      'registry.example.com',
      '198.51.100.0/25',
      '2001:db8:5::/48',
      'shared.example/ok',
      'a'.repeat(64),
      '? ?',
    ],
  ]);
  const { exceptions: neverBlock } = readExceptions(['198.51.100.200']);
  t.strictSame(unreadable, ['? ?']);
  t.equal(allow.values.length, 5);
  const ask = (text: string, allowReserved = false): string | undefined =>
    admit(readIndicator(text)!, { allow, neverBlock, allowReserved });
  const no: Readonly<Record<string, RegExp>> = {
    '127.0.0.1': /loopback/,
    '10.2.3.4': /private/,
    '172.16.0.0/16': /private/,
    '172.0.0.0/8': /private/,
    '192.168.1.1': /private/,
    '169.254.169.254': /link-local/,
    '100.64.1.1': /carriers/,
    '0.0.0.0': /this network/,
    '255.255.255.255': /broadcast/,
    '224.0.0.1': /multicast/,
    '198.0.0.0/7': /wider than \/8/,
    '0.0.0.0/0': /wider/,
    '2001::/18': /wider than \/19/,
    '::1': /loopback/,
    '::ffff:127.0.0.1': /loopback/,
    '64:ff9b::10.0.0.1': /private/,
    '2002:7f00:1::': /loopback/,
    'fd00::1': /unique local/,
    'fe80::1': /link-local/,
    com: /public suffix/,
    'co.uk': /public suffix/,
    'github.io': /public suffix/,
    localhost: /public suffix/,
    'a.localhost': /local name/,
    'metadata.google.internal': /local name/,
    'http://localhost/x': /local name/,
    'http://127.1/x': /loopback/,
    'http://[fd00::1]/x': /unique local/,
    'registry.example.com': /allowed/,
    'cdn.registry.example.com': /allowed/,
    'http://registry.example.com/x': /allowed/,
    'http://198.51.100.5/x': /allowed/,
    '198.51.100.64/26': /allowed/,
    '2001:db8:5::1': /allowed/,
    'http://shared.example/ok': /allowed/,
    [`sha256:${'a'.repeat(64)}`]: /allowed/,
    '198.51.100.200': /never be blocked/,
  };
  for (const [text, reason] of Object.entries(no)) t.match(ask(text) ?? 'admitted', reason, text);
  for (const text of [
    '192.0.2.1',
    '198.51.100.201',
    '203.0.113.0/24',
    'example.com',
    'evil.github.io',
    '198.51.100.0/24',
    '2001:db8::1',
    'http://shared.example/bad',
    'b'.repeat(32),
    '198.0.0.0/8'.replace('198', '45'),
  ]) {
    t.equal(ask(text), undefined, text);
  }
  for (const text of ['127.0.0.66', '10.0.0.0/8', 'c2.localhost', 'zip'])
    t.equal(ask(text, true), undefined, `${text}, a list of one's own`);
  t.match(ask('0.0.0.0/0', true), /wider/, "nor by a list of one's own");
});

const NONE = readExceptions([]).exceptions;
/** Why a feed may not list it; `admitted` when it may. */
const refused = (text: string, allowReserved = false): string =>
  admit(readIndicator(text)!, { allow: NONE, neverBlock: NONE, allowReserved }) ?? 'admitted';

t.test('each reserved network, from its first address to its last, and no further', async (t) => {
  const networks: readonly (readonly [
    prefix: string,
    what: RegExp,
    inside: readonly string[],
    outside: readonly string[],
  ])[] = [
    ['0.0.0.0/8', /this network/, ['0.0.0.0', '0.255.255.255'], ['1.0.0.0']],
    ['10.0.0.0/8', /private/, ['10.0.0.0', '10.255.255.255'], ['9.255.255.255', '11.0.0.0']],
    ['100.64.0.0/10', /carriers/, ['100.64.0.0', '100.127.255.255'], ['100.63.255.255', '100.128.0.0']],
    ['127.0.0.0/8', /loopback/, ['127.0.0.0', '127.255.255.255'], ['126.255.255.255', '128.0.0.0']],
    ['169.254.0.0/16', /link-local/, ['169.254.0.0', '169.254.255.255'], ['169.253.255.255', '169.255.0.0']],
    ['172.16.0.0/12', /private/, ['172.16.0.0', '172.31.255.255'], ['172.15.255.255', '172.32.0.0']],
    ['192.0.0.0/24', /protocols/, ['192.0.0.0', '192.0.0.255'], ['191.255.255.255', '192.0.1.0']],
    ['192.168.0.0/16', /private/, ['192.168.0.0', '192.168.255.255'], ['192.167.255.255', '192.169.0.0']],
    ['198.18.0.0/15', /benchmarks/, ['198.18.0.0', '198.19.255.255'], ['198.17.255.255', '198.20.0.0']],
    ['224.0.0.0/4', /multicast/, ['224.0.0.0', '239.255.255.255'], ['223.255.255.255']],
    ['240.0.0.0/4', /reserved, and broadcast/, ['240.0.0.0', '255.255.255.255'], []],
    ['::/8', /unspecified/, ['::', '::1', 'ff:ffff::1'], ['100:0:0:1::', '200::']],
    ['100::/64', /discarded/, ['100::', '100::ffff:ffff:ffff:ffff'], ['100:0:0:1::']],
    ['fc00::/7', /unique local/, ['fc00::', 'fdff:ffff::1'], ['fbff:ffff::1', 'fe00::']],
    ['fe80::/10', /link-local/, ['fe80::', 'febf:ffff::1'], ['fe7f:ffff::1']],
    ['fec0::/10', /site-local/, ['fec0::', 'feff:ffff::1'], []],
    ['ff00::/8', /multicast/, ['ff00::', 'ffff:ffff::1'], []],
  ];
  for (const [prefix, what, inside, outside] of networks) {
    for (const address of inside) {
      const host = address.includes(':') ? `[${address}]` : address;
      t.match(refused(address), what, address);
      t.match(refused(`http://${host}/x`), what, `a URL at ${address}`);
      t.equal(refused(address, true), 'admitted', `${address}, a list of one's own`);
    }
    for (const address of outside) t.equal(refused(address), 'admitted', `${address}: outside of ${prefix}`);
  }
});

t.test('each local name, and all names below it', async (t) => {
  for (const name of [
    'localhost',
    'localdomain',
    'local',
    'internal',
    'home.arpa',
    'in-addr.arpa',
    'ip6.arpa',
  ]) {
    t.match(refused(`host.${name}`), `is a local name, in ${name}`, `host.${name}`);
    t.match(refused(`a.b.${name}`), `is a local name, in ${name}`, `a.b.${name}`);
    t.match(refused(name), /is a (?:local name|public suffix)/, name);
    t.match(refused(`http://a.${name}/x`), `is a local name, in ${name}`, `a URL below ${name}`);
    t.equal(refused(`host.${name}`, true), 'admitted', `host.${name}, a list of one's own`);
    t.equal(refused(`my${name.replaceAll('.', '-')}.example`), 'admitted', `a name that holds ${name}`);
    t.equal(refused(`${name}.evil.example`), 'admitted', `${name} at its beginning`);
  }
});

import t from 'tap';
import { guardedLookup, refuseUrl } from '../../src/feeds/destination.js';

// Where requests for feeds may go, address by address: the ends of every range, and what lies just outside.

/** Why a connection to an address is refused; undefined where it is not. Nothing is asked of any name server. */
function refusedAt(address: string, reach: { host: string; internal: boolean }): Promise<string | undefined> {
  return new Promise((resolve) => {
    guardedLookup(reach)(address, { all: true }, (error) => resolve(error?.message));
  });
}

/** The host itself, its link, groups, and services that give out the host's credentials. */
const LOCAL = [
  ...[
    '0.0.0.0',
    '0.255.255.255',
    '127.0.0.1',
    '127.255.255.255',
    '169.254.0.0',
    '169.254.169.254',
    '169.254.255.255',
  ],
  ...[
    '192.0.0.0',
    '192.0.0.192',
    '192.0.0.255',
    '198.18.0.0',
    '198.19.255.255',
    '224.0.0.1',
    '255.255.255.255',
  ],
  ...[
    '100.100.100.200',
    '168.63.129.16',
    '::',
    '::1',
    'fe80::1',
    'febf::1',
    'fec0::1',
    'ff02::1',
    'fd00:ec2::254',
  ],
  // IPv4 in a coat.
  ...['::ffff:127.0.0.1', '::ffff:169.254.169.254', '64:ff9b::a9fe:a9fe', '2002:7f00:1::'],
];
/** Others may be behind them: only a host that the config calls internal. */
const PRIVATE = [
  ...['10.0.0.0', '10.255.255.255', '172.16.0.0', '172.31.255.255', '192.168.0.0', '192.168.255.255'],
  ...[
    '100.64.0.0',
    '100.127.255.255',
    'fc00::1',
    'fdff::1',
    'fd00:ec2::253',
    'fd00:ec2::255',
    '::ffff:10.0.0.1',
  ],
  ...['100.100.100.199', '100.100.100.201'],
];
const PUBLIC = [
  ...[
    '1.0.0.0',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '126.255.255.255',
    '128.0.0.0',
  ],
  ...['168.63.129.15', '168.63.129.17', '169.253.255.255', '169.255.0.0', '172.15.255.255', '172.32.0.0'],
  ...['192.0.1.0', '192.167.255.255', '192.169.0.0', '198.17.255.255', '198.20.0.0', '223.255.255.255'],
  ...['2001:db8::1', 'fbff::1', 'fe00::1', '::ffff:198.51.100.7'],
];
const url = (address: string): URL =>
  new URL(`https://${address.includes(':') ? `[${address}]` : address}/feed`);

await t.test(
  'this host and metadata services: never, whatever the config says of the feed’s host',
  async (t) => {
    for (const address of LOCAL) {
      t.match(
        refuseUrl(url(address), { host: 'feeds.example.com', internal: true }),
        /not a public address/,
        address,
      );
      for (const reach of [
        { host: 'feeds.example.com', internal: true },
        { host: address, internal: false },
        // A name of the feed's own host that leads there, even an internal one.
        { host: address, internal: true },
      ]) {
        t.match(await refusedAt(address, reach), /not public/, `${address} for ${JSON.stringify(reach)}`);
      }
    }
  },
);

await t.test(
  'private addresses: only of the feed’s own host, and only where the config calls it internal',
  async (t) => {
    for (const address of PRIVATE) {
      t.match(
        refuseUrl(url(address), { host: 'feeds.example.com', internal: true }),
        /not a public address/,
        address,
      );
      t.match(await refusedAt(address, { host: 'feeds.example.com', internal: true }), /not public/, address);
      t.match(
        await refusedAt(address, { host: address, internal: false }),
        /not public.*"internal": true/,
        address,
      );
      t.equal(await refusedAt(address, { host: address, internal: true }), undefined, `${address}, internal`);
    }
  },
);

await t.test('public addresses: always', async (t) => {
  for (const address of PUBLIC) {
    t.equal(refuseUrl(url(address), { host: 'feeds.example.com', internal: false }), undefined, address);
    t.equal(await refusedAt(address, { host: 'feeds.example.com', internal: false }), undefined, address);
  }
});

await t.test('names of this host', (t) => {
  for (const name of ['localhost', 'a.localhost', 'LOCALHOST', 'localhost.']) {
    t.ok(refuseUrl(new URL(`https://${name}/`), { host: 'feeds.example.com', internal: true }), name);
    t.equal(
      refuseUrl(new URL(`https://${name}/`), { host: name.toLowerCase(), internal: false }),
      undefined,
      `${name}, configured`,
    );
  }
  for (const name of ['localhost.example.com', 'mylocalhost', 'feeds.example.org']) {
    t.equal(
      refuseUrl(new URL(`https://${name}/`), { host: 'feeds.example.com', internal: false }),
      undefined,
      name,
    );
  }
  t.end();
});

import { createSocket, type Socket as Udp } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Server } from 'node:net';
import { Resolver as NodeResolver } from 'node:dns/promises';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { listenDns } from '../../src/egress/dns-server.js';
import {
  makeQuery,
  RCODE,
  readQuery,
  readResponse,
  writeQuery,
  writeRefusal,
  writeResponse,
  type Query,
} from '../../src/egress/dns-message.js';
import { TYPE } from '../../src/egress/dns-record.js';
import { openResolver, type Finding, type ResolverOptions } from '../../src/egress/resolver.js';
import { buildIndex } from '../../src/intel/index-build.js';
import { openIndex } from '../../src/intel/indicator-index.js';
import type { IndicatorAction, IndicatorType } from '../../src/intel/indicator.js';
import { parseNetwork } from '../../src/policy/cidr.js';
import { freePort } from '../support/free-port.js';

const INDEX = openIndex(
  buildIndex(
    (
      [
        ['domain', 'c2.example', 'block'],
        ['domain', 'watch.example', 'alert'],
        ['ipv4', '198.51.100.66', 'block'],
        ['ipv6', '2001:db8::66', 'block'],
      ] as [IndicatorType, string, IndicatorAction][]
    ).map(([type, value, action]) => ({
      type,
      value,
      action,
      feed: 'f',
      confidence: 1,
      threat: '',
      port: 0,
    })),
    { seed: [3, 4] },
  ),
);

const name = (text: string): Buffer =>
  Buffer.concat([
    ...text
      .split('.')
      .map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label, 'latin1')])),
    Buffer.from([0]),
  ]);

function record(owner: Buffer, type: number, data: Buffer, ttl = 300, kind = 1): Buffer {
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(type, 0);
  fixed.writeUInt16BE(kind, 2);
  fixed.writeUInt32BE(ttl, 4);
  fixed.writeUInt16BE(data.length, 8);
  return Buffer.concat([owner, fixed, data]);
}

const POINTER = Buffer.from([0xc0, 12]);

/** An answer to a query with these records. */
function reply(query: Query, id: number, records: readonly Buffer[], code = 0, flags = 0x8180): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(id, 0);
  head.writeUInt16BE(flags | code, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(records.length, 6);
  return Buffer.concat([head, query.question, ...records]);
}

const A = (address: string): Buffer => record(POINTER, TYPE.A, Buffer.from(address.split('.').map(Number)));

/** A client's message. */
function ask(
  text: string | Buffer,
  { id = 7, flags = 0x0100, type = 1, tail = Buffer.alloc(0), additional = 0 } = {},
): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(id, 0);
  head.writeUInt16BE(flags, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(additional, 10);
  const question = typeof text === 'string' ? name(text) : text;
  return Buffer.concat([head, question, Buffer.from([type >> 8, type & 255, 0, 1]), tail]);
}

const EDNS = Buffer.from([0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0]);

t.test('questions: read, or refused with a code, or dropped', async (t) => {
  const read = readQuery(ask('WWW.Example', { tail: EDNS, additional: 1 }));
  if (!read.ok) throw new Error('not read');
  t.match(read.query, {
    id: 7,
    name: 'www.example',
    type: 1,
    recursion: true,
    edns: { size: 1232, dnssec: true },
  });
  const code = (message: Buffer): number | undefined => {
    const result = readQuery(message);
    return result.ok ? -1 : result.code;
  };
  t.equal(code(Buffer.alloc(11)), undefined, 'no header: dropped');
  t.equal(code(ask('a.example', { flags: 0x8180 })), undefined, 'an answer: dropped');
  t.equal(code(ask('a.example', { flags: 0x2000 })), RCODE.NOTIMP, 'NOTIFY');
  for (const type of [249, 250, 251, 252, 253, 254, 255])
    t.equal(code(ask('a.example', { type })), RCODE.REFUSED);
  t.equal(code(ask(Buffer.from([0xc0, 12]))), RCODE.FORMERR, 'a pointer in a question');
  t.equal(code(ask(Buffer.from([5, 97]))), RCODE.FORMERR, 'a label over the end');
  t.equal(code(ask('a.example', { tail: Buffer.from([0]) })), RCODE.FORMERR, 'more behind it');
  t.equal(
    code(ask(Buffer.concat([Buffer.from([4]), Buffer.from('a.c2'), name('example')]))),
    RCODE.REFUSED,
    'a dot in a label',
  );
  t.equal(code(ask('a.example', { tail: EDNS, additional: 2 })), RCODE.FORMERR);
  t.equal(
    code(ask(Array.from({ length: 64 }, () => 'abcd').join('.'))),
    RCODE.FORMERR,
    'longer than 255 bytes',
  );
});

t.test('answers: everything that they lead to is seen', async (t) => {
  const query = makeQuery('www.example', TYPE.A);
  const six = Buffer.from('20010db8000000000000000000000066', 'hex');
  const service = Buffer.concat([
    Buffer.from([0, 1]),
    name('svc.example'),
    Buffer.from([0, 4, 0, 4, 1, 2, 3, 4, 0, 6, 0, 16]),
    six,
  ]);
  const response = readResponse(
    reply(query, 9, [
      record(POINTER, TYPE.CNAME, Buffer.concat([Buffer.from([1, 97]), POINTER])),
      record(POINTER, TYPE.MX, Buffer.concat([Buffer.from([0, 5]), name('mail.example')])),
      record(POINTER, TYPE.SRV, Buffer.concat([Buffer.from([0, 5, 0, 5, 0, 80]), name('srv.example')])),
      record(POINTER, TYPE.HTTPS, service, 30),
      A('198.51.100.7'),
      record(POINTER, TYPE.AAAA, six),
      record(POINTER, 16, Buffer.from('\x03txt')),
    ]),
    9,
    query,
  );
  t.strictSame(response?.names, ['a.www.example', 'mail.example', 'srv.example', 'svc.example']);
  t.strictSame(response?.ipv4, [0x01020304, 0xc6336407]);
  t.strictSame(response?.ipv6, [BigInt(`0x${six.toString('hex')}`), BigInt(`0x${six.toString('hex')}`)]);
  t.equal(response?.ttl, 30);
  const hidden = reply(query, 9, [
    record(POINTER, TYPE.CNAME, Buffer.concat([Buffer.from([3]), Buffer.from('x.y'), name('c2.example')])),
  ]);
  t.strictSame(
    readResponse(hidden, 9, query)?.names,
    ['x?y.c2.example'],
    'a listed parent behind odd labels',
  );
  const back = writeResponse(response!, { ...query, id: 3 }, 10);
  t.equal(readResponse(back, 3, query)?.ttl, 20, 'TTLs are older');
});

t.test('answers that are none, or not to be read, are not used', async (t) => {
  const query = makeQuery('www.example', TYPE.A);
  const good = reply(query, 9, [A('198.51.100.7')]);
  t.ok(readResponse(good, 9, query));
  const cases: [string, Buffer][] = [
    ['a query', ask('www.example', { id: 9 })],
    ['another name', reply(makeQuery('www2.example', TYPE.A), 9, [A('198.51.100.7')])],
    ['another type', reply(makeQuery('www.example', TYPE.AAAA), 9, [A('198.51.100.7')])],
    ['bytes behind it', Buffer.concat([good, Buffer.from([0])])],
    ['cut', good.subarray(0, -1)],
    ['an A record of three bytes', reply(query, 9, [record(POINTER, TYPE.A, Buffer.from([1, 2, 3]))])],
    [
      'a pointer to itself',
      reply(query, 9, [record(POINTER, TYPE.CNAME, Buffer.from([0xc0, 12 + query.question.length + 12]))]),
    ],
    ['a pointer into the header', reply(query, 9, [record(Buffer.from([0xc0, 2]), 16, Buffer.alloc(0))])],
    [
      'hints out of order',
      reply(query, 9, [record(POINTER, TYPE.SVCB, Buffer.from([0, 1, 0, 0, 6, 0, 0, 0, 4, 0, 0]))]),
    ],
  ];
  for (const [what, message] of cases) t.equal(readResponse(message, 9, query), undefined, what);
  t.equal(readResponse(good, 8, query), undefined, 'another id');
});

t.test('no bytes crash, hang or are taken for another question', (t) => {
  const query = makeQuery('www.example', TYPE.A);
  const good = reply(query, 9, [record(POINTER, TYPE.CNAME, name('a.example')), A('198.51.100.7')]);
  const flips = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 });
  fc.assert(
    fc.property(flips, fc.uint8Array({ maxLength: 600 }), (changes, noise) => {
      readQuery(Buffer.from(noise));
      readResponse(Buffer.from(noise), 9, query);
      const bytes = Buffer.from(good);
      for (const [at, value] of changes) bytes[at] = value;
      const response = readResponse(bytes, 9, query);
      return response === undefined || writeResponse(response, query, 5).length === good.length;
    }),
    { numRuns: 2_000 },
  );
  fc.assert(
    fc.property(
      fc.array(fc.stringMatching(/^[a-z0-9_-]{1,20}$/), { minLength: 1, maxLength: 10 }),
      (labels) => {
        const asked = makeQuery(labels.join('.'), TYPE.AAAA);
        const read = readQuery(writeQuery(5, asked, 1232));
        return read.ok && read.query.name === asked.name && read.query.question.equals(asked.question);
      },
    ),
  );
  // A chain of pointers, each to the one before: read once, not once per record.
  const chain = Buffer.concat(Array.from({ length: 4_000 }, () => record(POINTER, 16, Buffer.alloc(0))));
  const long = Buffer.concat([reply(query, 9, []), chain]);
  long.writeUInt16BE(4_000, 6);
  const started = performance.now();
  t.ok(readResponse(long, 9, query));
  t.ok(performance.now() - started < 1_000);
  t.match(readQuery(writeRefusal(query, RCODE.NXDOMAIN, true)), { ok: false });
  t.end();
});

interface Upstream {
  readonly port: number;
  asked: number;
}

/** A resolver with scripted answers; over TCP with the same, whole. */
async function upstream(
  t: Test,
  answer: (query: Query, id: number, tcp: boolean) => Buffer[],
): Promise<Upstream> {
  const udp: Udp = createSocket('udp4');
  const self: Upstream = { port: await freePort(), asked: 0 };
  udp.bind(self.port, '127.0.0.1');
  await once(udp, 'listening');
  const respond = (message: Buffer, tcp: boolean): Buffer[] => {
    self.asked++;
    const read = readQuery(message);
    if (!read.ok) throw new Error('the resolver asks something odd');
    return answer(read.query, read.query.id, tcp);
  };
  udp.on('message', (message, peer) => {
    for (const one of respond(message, false)) udp.send(one, peer.port, peer.address);
  });
  const tcp: Server = createServer((socket) => {
    socket.once('data', (data: Buffer) => {
      const [one] = respond(data.subarray(2), true);
      const length = Buffer.alloc(2);
      length.writeUInt16BE(one!.length);
      // In two pieces.
      socket.write(Buffer.concat([length, one!.subarray(0, 5)]));
      setImmediate(() => socket.end(one!.subarray(5)));
    });
  });
  t.teardown(() => {
    udp.close();
    tcp.close();
  });
  tcp.listen(self.port, '127.0.0.1');
  await once(tcp, 'listening');
  return self;
}

function resolverOf(upstreams: readonly Upstream[], extra: Partial<ResolverOptions> = {}) {
  const findings: (Finding & { refused: boolean })[] = [];
  const forbidden: string[] = [];
  const resolver = openResolver({
    upstream: upstreams.map(({ port }) => ({ host: '127.0.0.1', port })),
    mode: 'block',
    cache: 1 << 20,
    index: () => INDEX,
    permits: () => true,
    onAnswer: () => Promise.resolve(),
    onFinding: (_client, finding, refused) => void findings.push({ ...finding, refused }),
    onForbidden: (_client, one) => void forbidden.push(one),
    ...extra,
  });
  return { resolver, findings, forbidden };
}

const codeOf = (message: Buffer): number => message.readUInt16BE(2) & 0x000f;

t.test('the resolver: listed names and answers that lead to what is listed', async (t) => {
  const up = await upstream(t, (query, id) => {
    const records: Record<string, Buffer[]> = {
      'points.test': [A('198.51.100.66')],
      'alias.test': [record(POINTER, TYPE.CNAME, name('x.c2.example'))],
      'six.test': [record(POINTER, TYPE.AAAA, Buffer.from('20010db8000000000000000000000066', 'hex'))],
      'hint.test': [record(POINTER, TYPE.HTTPS, Buffer.from([0, 1, 0, 0, 4, 0, 4, 198, 51, 100, 66]))],
      'nat64.test': [record(POINTER, TYPE.AAAA, Buffer.from('0064ff9b0000000000000000c6336442', 'hex'))],
    };
    return [reply(query, id, records[query.name] ?? [A('198.51.100.7')])];
  });
  const { resolver, findings } = resolverOf([up]);
  const code = async (text: string, type: number = TYPE.A): Promise<number> =>
    codeOf(await resolver.answer(makeQuery(text, type), '10.0.0.1'));
  t.equal(await code('c2.example'), RCODE.NXDOMAIN);
  t.equal(await code('a.b.c2.example'), RCODE.NXDOMAIN);
  t.equal(await code('nc2.example'), RCODE.NOERROR, 'only at a dot');
  t.equal(up.asked, 1, 'listed names do not leave the host');
  for (const one of ['points.test', 'alias.test']) t.equal(await code(one), RCODE.NXDOMAIN, one);
  for (const one of ['six.test', 'nat64.test']) t.equal(await code(one, TYPE.AAAA), RCODE.NXDOMAIN, one);
  t.equal(await code('hint.test', TYPE.HTTPS), RCODE.NXDOMAIN);
  t.equal(await code('watch.example'), RCODE.NOERROR, 'alert: answered');
  t.match(
    findings.map(({ name: found, address, refused }) => [found, address, refused]),
    [
      ['c2.example', '', true],
      ['a.b.c2.example', '', true],
      ['points.test', '198.51.100.66', true],
      ['x.c2.example', '', true],
      ['six.test', '2001:db8::66', true],
      ['nat64.test', '64:ff9b::c633:6442', true],
      ['hint.test', '198.51.100.66', true],
      ['watch.example', '', false],
    ],
  );
  const alert = resolverOf([up], { mode: 'alert' });
  t.equal(codeOf(await alert.resolver.answer(makeQuery('c2.example', TYPE.A), '10.0.0.1')), RCODE.NOERROR);
  t.match(alert.findings, [{ refused: false }]);
  const denied = resolverOf([up], { permits: (_client, one) => one === 'ok.test' });
  t.equal(codeOf(await denied.resolver.answer(makeQuery('no.test', TYPE.A), '10.0.0.1')), RCODE.NXDOMAIN);
  t.strictSame(denied.forbidden, ['no.test']);
});

t.test('the resolver: cached, and looked up again in the index of the day', async (t) => {
  const up = await upstream(t, (query, id) => [reply(query, id, [A('198.51.100.66')])]);
  let index = openIndex(buildIndex([], { seed: [1, 2] }));
  const { resolver } = resolverOf([up], { index: () => index });
  const query = makeQuery('points.test', TYPE.A);
  const answers = await Promise.all(Array.from({ length: 20 }, () => resolver.answer(query, '10.0.0.1')));
  t.ok(answers.every((answer) => codeOf(answer) === RCODE.NOERROR));
  t.equal(up.asked, 1, 'asked once, however many wait');
  index = INDEX;
  t.equal(codeOf(await resolver.answer(query, '10.0.0.1')), RCODE.NXDOMAIN);
  t.equal(up.asked, 1);
});

t.test(
  'the resolver: forged answers are not heard, a cut one is asked for over TCP, a dead one is passed over',
  async (t) => {
    const up = await upstream(t, (query, id, tcp) => {
      if (query.name === 'cut.test' && !tcp) return [reply(query, id, [], 0, 0x8380)];
      const forged = [
        reply(query, id ^ 1, [A('203.0.112.1')]),
        reply(makeQuery('x.test', TYPE.A), id, [A('203.0.112.1')]),
      ];
      return [...(tcp ? [] : forged), reply(query, id, [A('198.51.100.7')])];
    });
    const { resolver } = resolverOf([up]);
    for (const one of ['forged.test', 'cut.test']) {
      t.strictSame(
        await resolver.lookUp(one),
        { addresses: ['198.51.100.7', '198.51.100.7'], findings: [] },
        one,
      );
    }
    const dead = { port: await freePort(), asked: 0 };
    const second = resolverOf([dead, up]).resolver;
    t.equal(codeOf(await second.answer(makeQuery('a.test', TYPE.A), '10.0.0.1')), RCODE.NOERROR);
    const none = resolverOf([dead]).resolver;
    t.equal(codeOf(await none.answer(makeQuery('a.test', TYPE.A), '10.0.0.1')), RCODE.SERVFAIL);
    // The system refuses to connect to it, as it refuses when there is no route. That once ended the process.
    const unreachable = resolverOf([], { upstream: [{ host: '255.255.255.255', port: 53 }] }).resolver;
    t.equal(codeOf(await unreachable.answer(makeQuery('a.test', TYPE.A), '10.0.0.1')), RCODE.SERVFAIL);
  },
);

t.test('the server: UDP and TCP, sizes, strangers, floods and nonsense', async (t) => {
  const many = Array.from({ length: 60 }, (_, index) => A(`198.51.100.${index}`));
  const port = await freePort();
  const options = { listen: { host: '127.0.0.1', port }, clients: [parseNetwork('127.0.0.0/8')!], rate: 50 };
  let server = await listenDns({
    ...options,
    answer: async (query) => {
      const response = readResponse(
        reply(query, 1, query.name === 'many.test' ? many : [A('198.51.100.7')]),
        1,
        query,
      )!;
      return writeResponse(response, query, 0);
    },
  });
  const resolver = new NodeResolver({ timeout: 2_000, tries: 1 });
  resolver.setServers([`127.0.0.1:${port}`]);
  t.strictSame(await resolver.resolve4('one.test'), ['198.51.100.7']);
  t.equal((await resolver.resolve4('many.test')).length, 60, 'cut over UDP, whole over TCP');

  const socket = connect({ host: '127.0.0.1', port });
  const frame = (message: Buffer): Buffer =>
    Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message]);
  socket.write(Buffer.concat([frame(ask('a.test', { id: 1 })), frame(ask('b.test', { id: 2 }))]));
  let got = Buffer.alloc(0);
  socket.on('data', (piece: Buffer) => (got = Buffer.concat([got, piece])));
  while (got.length < 2 * (2 + 12 + 12 + 16)) await once(socket, 'data');
  t.pass('two questions in one piece, two answers');
  socket.write(Buffer.from([0xff, 0xff, 1]));
  await once(socket, 'close');
  t.pass('a length that no question has ends the connection');

  const client = createSocket('udp4').bind(0, '127.0.0.1');
  await once(client, 'listening');
  let heard = 0;
  client.on('message', () => heard++);
  for (let count = 0; count < 400; count++) client.send(ask('flood.test'), port, '127.0.0.1');
  client.send(Buffer.from('nonsense'), port, '127.0.0.1');
  await new Promise((resolve) => setTimeout(resolve, 500));
  t.ok(heard > 20 && heard < 200, `${heard} of 400 are answered at a rate of 50`);
  await server.close();

  server = await listenDns({
    ...options,
    clients: [parseNetwork('10.0.0.0/8')!],
    answer: () => Promise.reject(new Error('asked')),
  });
  heard = 0;
  client.send(ask('stranger.test'), port, '127.0.0.1');
  const stranger = connect({ host: '127.0.0.1', port });
  stranger.on('error', () => undefined);
  await once(stranger, 'close');
  t.equal(heard, 0, 'strangers get nothing');
  client.close();
  await server.close();
});

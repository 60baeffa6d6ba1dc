import { createSocket } from 'node:dgram';
import { createServer as createHttp } from 'node:http';
import { createServer, type Socket } from 'node:net';

// A host out there, for the outbound tests: run in a network namespace of its own, whose addresses the test sets. Begins
// with the first byte on its standard input. HTTP on 8080 and 80, a stream of lines on 9000, DNS on two addresses, and
// an open port 853.

/** Names of the little internet; a name after `>` is an alias. */
const ZONE: Readonly<Record<string, string>> = {
  'good.example': '198.51.100.10',
  'www.good.example': '198.51.100.11',
  'c2.evil.example': '198.51.100.20',
  'www.c2.evil.example': '198.51.100.20',
  'points.example': '198.51.100.66',
  'alias.example': '>c2.evil.example',
  'inside.example': '172.20.1.2',
  'private.example': '10.1.2.3',
  'other.example': '198.51.100.11',
};

process.stdin.once('data', () => {
  const http = createHttp((request, response) => {
    request.resume();
    response.end(`hello ${request.headers.host ?? ''}${request.url ?? ''}\n`);
  });
  http.listen(8080, '::', 4096);
  const line = (socket: Socket): void => {
    socket.on('error', () => undefined);
    const timer = setInterval(() => socket.write('line\n'), 100);
    socket.on('close', () => clearInterval(timer));
  };
  createServer(line).listen(9000);
  createServer((socket) => socket.on('error', () => undefined).end('open\n')).listen(853);
  for (const address of ['198.51.100.53', '198.51.100.54']) {
    const dns = createSocket('udp4');
    dns.on('message', (message, peer) => dns.send(answer(message), peer.port, peer.address));
    dns.bind(53, address);
  }
  process.stdout.write('ready\n');
});

function answer(query: Buffer): Buffer {
  let at = 12;
  const labels: string[] = [];
  while (query[at] !== 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + query[at]!));
    at += query[at]! + 1;
  }
  const type = query.readUInt16BE(at + 1);
  const question = query.subarray(12, at + 5);
  const name = labels.join('.').toLowerCase();
  const records: Buffer[] = [];
  const record = (owner: Buffer, kind: number, data: Buffer): void => {
    const fixed = Buffer.from([0, kind, 0, 1, 0, 0, 0, 30, 0, data.length]);
    records.push(Buffer.concat([owner, fixed, data]));
  };
  const first = Buffer.from([0xc0, 12]);
  const found = ZONE[name];
  if (found?.startsWith('>') === true) {
    const goal = wire(found.slice(1));
    record(first, 5, goal);
    if (type === 1) record(goal, 1, bytes(ZONE[found.slice(1)]!));
  } else if (found !== undefined && type === 1) record(first, 1, bytes(found));
  const head = Buffer.alloc(12);
  query.copy(head, 0, 0, 2);
  head.writeUInt16BE(found === undefined ? 0x8183 : 0x8180, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(records.length, 6);
  return Buffer.concat([head, question, ...records]);
}

function wire(name: string): Buffer {
  const labels = name
    .split('.')
    .map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([...labels, Buffer.from([0])]);
}

function bytes(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number));
}

import { createServer } from 'node:net';

/**
 * A stand-in engine for bulk data, as its own process: `node bulk-engine.js SOCKET`. Raw sockets, so that it costs little.
 *
 *     GET  …bulk:N/get      N MiB of chunked body
 *     POST …/images/load    reads a chunked body to its end; answers `{"bytes":N}`, framing included
 *     anything else         OK
 */
const SIZE = 32 * 1024;
const chunk = Buffer.concat([
  Buffer.from(`${SIZE.toString(16)}\r\n`),
  Buffer.alloc(SIZE, 'x'),
  Buffer.from('\r\n'),
]);
const four = Buffer.concat([chunk, chunk, chunk, chunk]);
const LAST = '\r\n0\r\n\r\n';

createServer((socket) => {
  let received = -1;
  let head = '';
  let tail = '';
  socket.on('error', () => {});

  const answer = (body: string): void => {
    socket.write(
      `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
  };
  const send = (mib: number): void => {
    let left = mib * 2 ** 20;
    socket.write('HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n');
    const more = (): void => {
      while (left > 0) {
        left -= 4 * SIZE;
        if (!socket.write(four) && left > 0) return void socket.once('drain', more);
      }
      socket.write('0\r\n\r\n');
    };
    more();
  };
  const receive = (data: Buffer): void => {
    received += data.length;
    tail = (tail + data.toString('latin1', Math.max(0, data.length - LAST.length))).slice(-LAST.length);
    if (tail !== LAST) return;
    answer(JSON.stringify({ bytes: received }));
    received = -1;
    tail = '';
  };

  socket.on('data', (data: Buffer) => {
    if (received >= 0) return receive(data);
    head += data.toString('latin1');
    const end = head.indexOf('\r\n\r\n');
    if (end === -1) return;
    const request = head.slice(0, end);
    const rest = head.slice(end + 4);
    head = '';
    const mib = /bulk(?::|%3A)(\d+)/i.exec(request)?.[1];
    if (request.startsWith('POST')) {
      received = 0;
      // `\r\n` in front, so that an empty body ends like any other.
      tail = '\r\n';
      if (rest !== '') receive(Buffer.from(rest, 'latin1'));
    } else if (mib !== undefined) send(Number(mib));
    else answer('OK');
  });
}).listen(process.argv[2]);

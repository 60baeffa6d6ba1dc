import { connect } from 'node:net';

/**
 * Moves N MiB through a port and prints MB/s (10^6 bytes), as its own process: `node bulk-client.js PORT|SOCKET down|up N`. Exits 1
 * when the answer is not 200 or bytes are missing.
 */
const [where = '', direction, mib] = [process.argv[2], process.argv[3], Number(process.argv[4])];
const total = mib * 2 ** 20;
const started = process.hrtime.bigint();
let received = 0;
let first = '';
let tail = '';

const socket = connect({
  ...(/^\d+$/.test(where) ? { port: Number(where), host: '127.0.0.1' } : { path: where }),
  // One buffer for all reads: the client must not be the limit.
  onread: {
    buffer: Buffer.alloc(256 * 1024),
    callback(length, buffer) {
      if (first.length < 200)
        first += Buffer.from(buffer.subarray(0, Math.min(length, 200))).toString('latin1');
      received += length;
      const end = Buffer.from(buffer.subarray(Math.max(0, length - 8), length)).toString('latin1');
      tail = (tail + end).slice(-8);
      if (direction === 'up' ? tail.includes('}') : tail.endsWith('\r\n0\r\n\r\n')) finish();
      return true;
    },
  },
});
socket.on('error', (error) => fail(error.message));
socket.on('close', () => fail('the connection was closed'));

if (direction === 'up') upload();
else socket.write(`GET /v1.41/images/bulk:${mib}/get HTTP/1.1\r\nHost: docker\r\n\r\n`);

function upload(): void {
  const size = 64 * 1024;
  const chunk = [Buffer.from(`${size.toString(16)}\r\n`), Buffer.alloc(size, 'x'), Buffer.from('\r\n')];
  const four = Buffer.concat([...chunk, ...chunk, ...chunk, ...chunk]);
  let left = total;
  const type = 'Content-Type: application/x-tar\r\nTransfer-Encoding: chunked';
  socket.write(`POST /v1.41/images/load HTTP/1.1\r\nHost: docker\r\n${type}\r\n\r\n`);
  const more = (): void => {
    while (left > 0) {
      left -= 4 * size;
      if (!socket.write(four) && left > 0) return void socket.once('drain', more);
    }
    socket.write('0\r\n\r\n');
  };
  more();
}

function finish(): void {
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  const arrived = direction === 'up' ? Number(/"bytes":(\d+)/.exec(first)?.[1] ?? 0) : received;
  if (!first.startsWith('HTTP/1.1 200')) fail(first);
  if (arrived < total) fail(`only ${arrived} of ${total} bytes arrived`);
  console.log(total / 1e6 / seconds);
  process.exit(0);
}

function fail(reason: string): never {
  console.error(`${direction} ${mib} MiB: ${reason}`);
  process.exit(1);
}

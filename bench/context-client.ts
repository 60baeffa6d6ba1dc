import { connect } from 'node:net';

/**
 * Sends a build context of about 1 GiB and prints MB/s (10^6 bytes), as its own process: `node context-client.js PORT|SOCKET large|small`.
 * `large` is 4 files, `small` 20,000. Exits 1 when the answer is not 200 or bytes are missing.
 */
const [where = '', kind] = [process.argv[2], process.argv[3]];
const [count, size] = kind === 'small' ? [20_000, 52 * 1024] : [4, 256 * 2 ** 20];
const data = Buffer.alloc(256 * 1024, 'x');
const dockerfile = Buffer.alloc(512);
dockerfile.write('FROM registry.example.com/app:1\nCOPY . /srv/\n');
const files = [{ header: header('Dockerfile', dockerfile.indexOf(0)), data: dockerfile, size: 512 }];
for (let n = 0; n < count; n++) {
  files.push({ header: header(`srv/${n % 100}/file-${n}`, size), data, size });
}
const total = files.reduce((sum, file) => sum + 512 + file.size, 0);

/** A plain ustar header (POSIX pax, "ustar Interchange Format"). */
function header(name: string, length: number): Buffer {
  const block = Buffer.alloc(512);
  const octal = (value: number, at: number, width: number): void =>
    void block.write(value.toString(8).padStart(width - 1, '0'), at);
  block.write(name);
  octal(0o644, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(length, 124, 12);
  octal(1_700_000_000, 136, 12);
  block.write('        ', 148);
  block.write('0', 156);
  block.write('ustar\x0000', 257, 'latin1');
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    8,
  );
  return block;
}

const started = process.hrtime.bigint();
let answer = '';
const socket = connect(
  /^\d+$/.test(where) ? { port: Number(where), host: '127.0.0.1' } : { path: where, host: undefined },
);
socket.on('error', (error) => fail(error.message));
socket.on('close', () => fail(`the connection was closed: ${answer}`));
socket.on('data', (piece) => {
  answer += piece.toString('latin1');
  if (!answer.includes('}')) return;
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  const arrived = Number(/"bytes":(\d+)/.exec(answer)?.[1] ?? 0);
  if (!answer.startsWith('HTTP/1.1 200')) fail(answer);
  if (arrived < total) fail(`only ${arrived} of ${total} bytes arrived`);
  console.log(total / 1e6 / seconds);
  process.exit(0);
});

/** One chunk of the body; false when the socket is full. */
function chunk(...pieces: readonly Buffer[]): boolean {
  socket.cork();
  socket.write(`${pieces.reduce((sum, piece) => sum + piece.length, 0).toString(16)}\r\n`);
  for (const piece of pieces) socket.write(piece);
  const more = socket.write('\r\n');
  socket.uncork();
  return more;
}

async function upload(): Promise<void> {
  const type = 'Content-Type: application/x-tar\r\nTransfer-Encoding: chunked';
  socket.write(`POST /v1.41/build?t=app HTTP/1.1\r\nHost: docker\r\n${type}\r\n\r\n`);
  for (const file of files) {
    let head = [file.header];
    for (let left = file.size; left > 0; left -= file.data.length) {
      const more = chunk(...head, file.data.subarray(0, left));
      head = [];
      if (!more) await new Promise((resolve) => socket.once('drain', resolve));
    }
  }
  chunk(Buffer.alloc(1024));
  socket.write('0\r\n\r\n');
}

function fail(reason: string): never {
  console.error(`context of ${kind} files: ${reason}`);
  process.exit(1);
}

await upload();

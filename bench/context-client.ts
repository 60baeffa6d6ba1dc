import { connect } from 'node:net';

/**
 * Sends a build context and prints MB/s (10^6 bytes), as its own process: `node context-client.js SOCKET
 * large|small discard|dockerd`. `large` is 1 GiB in 4 files, `small` 250 MiB in 25,000. Exits 1 when the answer is not 200, bytes are missing, or a
 * real engine did not build.
 */
const [path = '', kind, engine] = process.argv.slice(2);
const [count, size] = kind === 'small' ? [25_000, 10 * 1024] : [4, 256 * 2 ** 20];
/** Bytes of one chunk of the body. */
const CHUNK = 256 * 1024;
const data = Buffer.alloc(Math.min(size, CHUNK), 'x');
const dockerfile = Buffer.alloc(512);
dockerfile.write('FROM scratch\nLABEL com.example.context=measured\n');
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
const socket = connect({ path });
socket.on('error', (error) => fail(error.message));
socket.on('close', () => fail(`the connection was closed: ${answer}`));
socket.on('data', (piece) => {
  answer += piece.toString('latin1');
  if (answer.includes('\r\n\r\n') && !answer.startsWith('HTTP/1.1 200')) fail(answer);
  if (!answer.includes(engine === 'dockerd' ? '\r\n0\r\n\r\n' : '}')) return;
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  if (engine === 'dockerd') {
    if (!answer.includes('Successfully built')) fail(answer);
  } else {
    const arrived = Number(/"bytes":(\d+)/.exec(answer)?.[1] ?? 0);
    if (arrived < total) fail(`only ${arrived} of ${total} bytes arrived`);
  }
  console.log(total / 1e6 / seconds);
  process.exit(0);
});

/** One chunk of the body; resolves when there is room for another. */
async function send(pieces: readonly Buffer[], length: number): Promise<void> {
  socket.cork();
  socket.write(`${length.toString(16)}\r\n`);
  for (const piece of pieces) socket.write(piece);
  const more = socket.write('\r\n');
  socket.uncork();
  if (!more) await new Promise((resolve) => socket.once('drain', resolve));
}

async function upload(): Promise<void> {
  const type = 'Content-Type: application/x-tar\r\nTransfer-Encoding: chunked';
  socket.write(`POST /v1.41/build?t=bench-context HTTP/1.1\r\nHost: docker\r\n${type}\r\n\r\n`);
  let pieces: Buffer[] = [];
  let length = 0;
  const add = async (piece: Buffer): Promise<void> => {
    pieces.push(piece);
    length += piece.length;
    if (length < CHUNK) return;
    await send(pieces, length);
    pieces = [];
    length = 0;
  };
  for (const file of files) {
    await add(file.header);
    for (let left = file.size; left > 0; left -= file.data.length) {
      await add(file.data.subarray(0, left));
    }
  }
  await add(Buffer.alloc(1024));
  if (length > 0) await send(pieces, length);
  socket.write('0\r\n\r\n');
}

function fail(reason: string): never {
  console.error(`context of ${kind} files: ${reason}`);
  process.exit(1);
}

await upload();

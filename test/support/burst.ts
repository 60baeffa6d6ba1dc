import { connect } from 'node:net';

// Opens many connections and counts how they end: node burst.js COUNT HOST:PORT=expected… where expected is `open` or
// `refused`. Begins with the first byte on its standard input, prints one line of JSON.

const [countText, ...targets] = process.argv.slice(2);
const count = Number(countText);
const goals = targets.map((text) => {
  const [, host, port, expected] = /^(.+):(\d+)=(open|refused)$/.exec(text)!;
  return { host: host!, port: Number(port), expected: expected! };
});
const result = { open: 0, refused: 0, wrong: 0, first: '' };

function once(index: number): Promise<void> {
  const { host, port, expected } = goals[index % goals.length]!;
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 10_000 });
    const end = (outcome: string): void => {
      if (outcome === expected) result[expected as 'open' | 'refused']++;
      else {
        result.wrong++;
        result.first ||= `${host}: ${outcome} instead of ${expected}`;
      }
      // A reset frees the port at once.
      socket.resetAndDestroy();
      resolve();
    };
    socket.once('connect', () => end('open'));
    socket.once('timeout', () => end('timeout'));
    socket.once('error', (error: NodeJS.ErrnoException) =>
      end(error.code === 'ECONNREFUSED' ? 'refused' : error.message),
    );
  });
}

process.stdin.once('data', () => {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await once(next++);
  };
  void Promise.all(Array.from({ length: 20 }, worker)).then(() => {
    process.stdout.write(`${JSON.stringify(result)}\n`);
    process.exit(0);
  });
});

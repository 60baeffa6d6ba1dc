import { connect, createServer, type Server, type Socket } from 'node:net';

/**
 * A byte relay on a unix socket between the guard and dockerd: counts the connections the daemon sees, keeps the
 * first bytes of each and can misbehave on demand. It knows nothing of HTTP, so it cannot hide a fault.
 */
export interface Recorder {
  readonly host: string;
  /** Connections open to the daemon at this moment. */
  open(): number;
  /** Those of them on which `text` was sent (in the first 64 KiB): a guard pools, so numbers alone say little. */
  carrying(text: string): number;
  /** Connections since the start. */
  total(): number;
  /** All bytes kept that went to the daemon (at most `keep` per connection), latin-1. */
  sent(): string;
  /** Bytes that came from the daemon. */
  received(): number;
  /** Bytes that went to the daemon. */
  forwarded(): number;
  forget(): void;
  /**
   * `relay`: pass everything. `hang`: accept, read, never answer. `cut`: reset a connection after `cutAfter` bytes
   * of answer. `stall`: accept and read nothing.
   */
  mode: 'relay' | 'hang' | 'cut' | 'stall';
  cutAfter: number;
  /** Milliseconds to hold back everything that comes from the daemon. */
  delay: number;
  close(): Promise<void>;
}

const keep = 64 * 1024;

/** Listens on a unix socket path, or on a TCP port of 127.0.0.1, and relays to the unix socket `upstream`. */
export async function startRecorder(socket: string | number, upstream: string): Promise<Recorder> {
  const live = new Set<Socket>();
  let total = 0;
  let received = 0;
  let forwarded = 0;
  let kept: Buffer[][] = [];
  const open = new Set<Buffer[]>();

  const server: Server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    total++;
    live.add(client);
    client.on('close', () => live.delete(client));
    client.on('error', () => {});
    if (recorder.mode === 'stall') return;
    if (recorder.mode === 'hang') {
      const bytes: Buffer[] = [];
      kept.push(bytes);
      client.on('data', (chunk: Buffer) => bytes.push(chunk.subarray(0, keep)));
      client.resume();
      return;
    }
    relay(client);
  });

  function relay(client: Socket): void {
    const daemon = connect({ path: upstream, allowHalfOpen: true });
    live.add(daemon);
    const bytes: Buffer[] = [];
    let room = keep;
    kept.push(bytes);
    open.add(bytes);
    let answered = 0;
    daemon.on('close', () => {
      open.delete(bytes);
      live.delete(daemon);
      if (!client.writableEnded) client.end();
      if (daemon.errored) client.destroy();
    });
    // A client that is gone altogether (not half-closed) takes the daemon's side with it, as one socket would.
    client.on('close', () => daemon.destroy());
    daemon.on('error', () => client.destroy());
    client.on('data', (chunk: Buffer) => {
      forwarded += chunk.length;
      if (room > 0) {
        bytes.push(Buffer.from(chunk.subarray(0, room)));
        room -= chunk.length;
      }
      // A pooled connection from before must hang too.
      if (recorder.mode === 'hang') return;
      if (!daemon.write(chunk)) client.pause();
    });
    daemon.on('drain', () => client.resume());
    client.on('end', () => daemon.end());
    daemon.on('data', (chunk: Buffer) => {
      received += chunk.length;
      answered = recorder.mode === 'cut' ? answered + chunk.length : 0;
      if (recorder.mode === 'cut' && answered >= recorder.cutAfter) {
        client.destroy();
        daemon.destroy();
        return;
      }
      const pass = (): void => {
        if (!client.destroyed && !client.write(chunk)) daemon.pause();
      };
      if (recorder.delay > 0) setTimeout(pass, recorder.delay);
      else pass();
    });
    client.on('drain', () => daemon.resume());
    daemon.on('end', () => {
      if (recorder.delay > 0) setTimeout(() => client.end(), recorder.delay);
      else client.end();
    });
    client.resume();
  }

  const recorder: Recorder = {
    host: typeof socket === 'number' ? `tcp://127.0.0.1:${socket}` : `unix://${socket}`,
    mode: 'relay',
    cutAfter: 0,
    delay: 0,
    open: () => open.size,
    carrying: (text) => [...open].filter((bytes) => Buffer.concat(bytes).includes(text)).length,
    total: () => total,
    sent: () => kept.map((bytes) => Buffer.concat(bytes).toString('latin1')).join('\n--\n'),
    received: () => received,
    forwarded: () => forwarded,
    forget() {
      kept = [];
      received = 0;
      forwarded = 0;
    },
    close: () =>
      new Promise((resolve) => {
        for (const one of live) one.destroy();
        server.close(() => resolve());
      }),
  };
  await new Promise<void>((resolve, reject) => {
    server.on('error', reject);
    if (typeof socket === 'number') server.listen(socket, '127.0.0.1', resolve);
    else server.listen(socket, resolve);
  });
  return recorder;
}

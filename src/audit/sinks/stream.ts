import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { readTls } from './secret.js';
import { TAKEN, type Outgoing, type SinkConfig, type Transport } from './sink.js';

/** One of the connections that follow each other. */
interface Link {
  readonly number: number;
  socket?: Socket;
  /** Messages were written to it. */
  isUsed: boolean;
  /** Until the last write is through. */
  busy: Promise<unknown>;
  /** When it was ended from here (ms); 0: it was not. */
  askedAt: number;
}

interface Connection extends Link {
  readonly ready: Promise<Socket>;
}

/** Everything up to that connection: has it arrived? */
interface Mark {
  readonly upTo: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Messages over TCP or TLS. TCP says nothing of what the other side has read: what lies in the buffers of a connection that
 * dies is lost, and every write had worked. So the connection itself is the acknowledgement: it is ended, and a receiver
 * that ends it too, in order, has read all of it; one that dies or is cut off resets it, or says nothing.
 *
 * A receiver that is being stopped ends its connections in order too, and throws away what it holds in memory. So its next
 * connection is opened before, and must outlive the first: a receiver that stops ends both. The messages of a connection
 * count as arrived when, `settle` after its end, a later one was ended from here and the receiver answered in order, and
 * none of those in between was ended, reset or lost unasked.
 *
 * INVARIANT: unless that has happened, what was sent is sent again.
 *
 * @param frame a message with what tells it from the next one.
 */
export function openStream(config: SinkConfig, frame: (message: Outgoing) => string): Transport {
  const url = new URL(config.url);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = Number(url.port);
  const { settle } = config.confirm;
  let count = 0;
  /** The last connection that messages were written to, and the last one whose messages have arrived. */
  let used = 0;
  let proven = 0;
  /** Takes the messages. */
  let current: Connection | undefined;
  /** On its way to its end; one at a time, so that there are never more than two. */
  let asked: Connection | undefined;
  /** Ended in order, oldest first, while it is not known yet what became of the receiver. */
  let ended: { readonly number: number; readonly at: number }[] = [];
  let marks: Mark[] = [];
  /** The current one is to be ended once `asked` is through. */
  let isDue = false;
  let failure: Error | undefined;
  let timer: NodeJS.Timeout | undefined;
  const live = new Set<Link>();
  const waiters = new Set<(error: Error) => void>();

  /** All of them fail together: what one tells of the receiver counts for the others. */
  const fail = (error: Error): void => {
    failure ??= error;
    clearTimeout(timer);
    timer = undefined;
    for (const { socket } of live) socket?.destroy();
    live.clear();
    for (const reject of waiters) reject(failure);
    for (const { reject } of marks) reject(failure);
    marks = [];
    ended = [];
    current = asked = undefined;
    isDue = false;
  };

  /** What `begin` starts, within the time-out and until a connection fails. */
  const during = (
    what: string,
    signal: AbortSignal | undefined,
    begin: (done: (error?: Error | null) => void) => void,
  ): Promise<void> =>
    new Promise<void>((resolve, reject) => {
      const leave = (): void => {
        clearTimeout(late);
        signal?.removeEventListener('abort', aborted);
        waiters.delete(failed);
      };
      const failed = (error: Error): void => {
        leave();
        reject(error);
      };
      const aborted = (): void => fail(new Error('stopped'));
      const late = setTimeout(
        () => fail(new Error(`${what} took longer than "timeout", ${config.timeout} ms`)),
        config.timeout,
      );
      waiters.add(failed);
      signal?.addEventListener('abort', aborted);
      begin((error) => {
        if (error != null) return fail(error);
        leave();
        resolve();
      });
    });

  const dial = async (connection: Link): Promise<Socket> => {
    const tls = url.protocol === 'tls:' ? await readTls(config.tls) : undefined;
    if (!live.has(connection)) throw failure ?? new Error('given up');
    const name = isIP(host) === 0 ? { servername: host } : {};
    const made = tls === undefined ? connectTcp({ host, port }) : connectTls({ host, port, ...tls, ...name });
    connection.socket = made;
    const broken = (error: Error): void => {
      if (live.has(connection)) fail(error);
    };
    made.on('error', broken);
    made.on('end', () => endedByReceiver(connection));
    made.on('close', () => broken(new Error('the connection was closed by the receiver')));
    made.resume().setNoDelay(true).setKeepAlive(true, 30_000);
    await during('connecting', undefined, (done) =>
      made.once(tls === undefined ? 'connect' : 'secureConnect', () => done()),
    );
    return made;
  };

  const open = (): Connection => {
    const fresh = { number: (count += 1), isUsed: false, busy: Promise.resolve(), askedAt: 0 };
    live.add(fresh);
    const ready = dial(fresh);
    ready.catch((error: Error) => {
      if (live.has(fresh)) fail(error);
    });
    return Object.assign(fresh, { ready });
  };

  const endedByReceiver = (connection: Link): void => {
    if (!live.delete(connection)) return;
    connection.socket?.destroy();
    if (connection.askedAt > 0) return finished(connection);
    // A receiver that ends the connection by itself may not have read what is still on its way.
    const isIdle = !connection.isUsed && asked === undefined && ended.length === 0 && marks.length === 0;
    if (!isIdle) fail(new Error('the connection was ended by the receiver'));
    else if (current === connection) current = undefined;
  };

  const finished = ({ number, isUsed, askedAt }: Link): void => {
    asked = undefined;
    // Asked one after the other: those that ended first have the lower numbers.
    const isProven = ({ at }: { at: number }): boolean => at + settle <= askedAt;
    proven = ended.findLast(isProven)?.number ?? proven;
    ended = ended.filter((one) => !isProven(one));
    if (isUsed) ended.push({ number, at: performance.now() });
    while (marks.length > 0 && marks[0]!.upTo <= proven) marks.shift()!.resolve();
    if (isDue) askNext();
    schedule();
  };

  /** Ends the current connection, once its successor is there. */
  const askNext = (): void => {
    if (asked !== undefined || current === undefined) {
      isDue = asked !== undefined;
      return;
    }
    isDue = false;
    const old = current;
    const now = performance.now();
    const isLast = !old.isUsed && ended.every(({ at }) => at + settle <= now);
    asked = old;
    current = isLast ? undefined : open();
    const end = async (next: Connection | undefined): Promise<void> => {
      await next?.ready;
      const socket = await old.ready;
      await old.busy;
      if (!live.has(old)) return;
      old.askedAt = performance.now();
      await during('waiting for the receiver to end the connection', undefined, (done) => {
        socket.once('end', () => done()).end();
      });
    };
    // Whatever goes wrong, everybody who waits was told already.
    end(current).catch(() => undefined);
  };

  /** Somebody waits, and no message comes that would make a later connection end: it is ended without one. */
  const schedule = (): void => {
    const first = ended.find(({ number }) => number === marks[0]?.upTo);
    if (timer !== undefined || first === undefined) return;
    const wait = first.at + settle - performance.now();
    if (wait <= 0) return askNext();
    timer = setTimeout(() => {
      timer = undefined;
      schedule();
    }, Math.ceil(wait));
  };

  return {
    async send(messages, signal) {
      if (failure !== undefined) throw failure;
      const on = (current ??= open());
      const bytes = Buffer.from(messages.map(frame).join(''));
      const sent = on.ready.then((socket) =>
        during('sending', signal, (done) => {
          socket.write(bytes, done);
        }),
      );
      on.isUsed = true;
      used = on.number;
      on.busy = sent.catch(() => undefined);
      await sent;
      return TAKEN;
    },
    confirm(signal) {
      if (failure !== undefined) return Promise.reject(failure);
      if (used <= proven) return Promise.resolve();
      return new Promise<void>((resolve, reject) => {
        const aborted = (): void => fail(new Error('stopped'));
        const leave = (): void => signal.removeEventListener('abort', aborted);
        signal.addEventListener('abort', aborted);
        marks.push({
          upTo: used,
          resolve: () => (leave(), resolve()),
          reject: (error) => (leave(), reject(error)),
        });
        if (current?.number === used) askNext();
        schedule();
      });
    },
    reset() {
      fail(new Error('given up'));
      failure = undefined;
    },
    close: async () => fail(new Error('stopped')),
  };
}

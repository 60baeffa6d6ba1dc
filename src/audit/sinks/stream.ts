import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { readTls } from './secret.js';
import { TAKEN, type Outcome, type Outgoing, type SinkConfig, type Transport } from './sink.js';

/** Waits until everything up to a connection has arrived. */
interface Mark {
  readonly upTo: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** A connection that was ended in order, while it is not known yet what became of the receiver. */
interface Ended {
  readonly number: number;
  /** When the receiver ended it too (ms). */
  readonly at: number;
}

/** One of the connections that follow each other. */
class StreamConnection {
  readonly number: number;
  /** Resolves when it is open. */
  ready!: Promise<Socket>;
  socket: Socket | undefined;
  /** Messages were written to it. */
  isUsed = false;
  /** Settles when the last write is done. */
  busy: Promise<unknown> = Promise.resolve();
  /** When it was ended from here (ms); 0: it was not. */
  endedAt = 0;

  constructor(number: number) {
    this.number = number;
  }
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
 * @param frame adds to a message what separates it from the next one.
 */
export function openStream(config: SinkConfig, frame: (message: Outgoing) => string): Transport {
  return new StreamTransport(config, frame);
}

class StreamTransport implements Transport {
  readonly #config: SinkConfig;
  readonly #frame: (message: Outgoing) => string;
  readonly #url: URL;
  #connections = 0;
  /** The last connection that messages were written to, and the last one whose messages have arrived. */
  #used = 0;
  #proven = 0;
  /** Takes the messages. */
  #current: StreamConnection | undefined;
  /** On its way to its end; one at a time, so that there are never more than two. */
  #ending: StreamConnection | undefined;
  /** Oldest first. */
  #ended: Ended[] = [];
  #marks: Mark[] = [];
  /** The current one is to be ended once `#ending` is through. */
  #isEndDue = false;
  #failure: Error | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #open = new Set<StreamConnection>();
  /** What is under way fails with the connections. */
  readonly #waiters = new Set<(error: Error) => void>();

  constructor(config: SinkConfig, frame: (message: Outgoing) => string) {
    this.#config = config;
    this.#frame = frame;
    this.#url = new URL(config.url);
  }

  async send(messages: readonly Outgoing[], signal: AbortSignal): Promise<Outcome> {
    if (this.#failure !== undefined) throw this.#failure;
    const connection = (this.#current ??= this.#connect());
    const bytes = Buffer.from(messages.map(this.#frame).join(''));
    const sent = connection.ready.then((socket) =>
      this.#during('sending', signal, (done) => {
        socket.write(bytes, done);
      }),
    );
    connection.isUsed = true;
    this.#used = connection.number;
    connection.busy = sent.catch(() => undefined);
    await sent;
    return TAKEN;
  }

  confirm(signal: AbortSignal): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#used <= this.#proven) return Promise.resolve();
    return new Promise<void>((resolve, reject) => {
      const aborted = (): void => this.#fail(new Error('stopped'));
      const leave = (): void => signal.removeEventListener('abort', aborted);
      signal.addEventListener('abort', aborted);
      this.#marks.push({
        upTo: this.#used,
        resolve: () => (leave(), resolve()),
        reject: (error) => (leave(), reject(error)),
      });
      if (this.#current?.number === this.#used) this.#endCurrent();
      this.#schedule();
    });
  }

  reset(): void {
    this.#fail(new Error('given up'));
    this.#failure = undefined;
  }

  async close(): Promise<void> {
    this.#fail(new Error('stopped'));
  }

  /** All connections fail together: they have the same receiver. */
  #fail(error: Error): void {
    this.#failure ??= error;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const { socket } of this.#open) socket?.destroy();
    this.#open.clear();
    for (const reject of this.#waiters) reject(this.#failure);
    for (const { reject } of this.#marks) reject(this.#failure);
    this.#marks = [];
    this.#ended = [];
    this.#current = this.#ending = undefined;
    this.#isEndDue = false;
  }

  /** What `begin` starts, within the time-out and until a connection fails. */
  #during(
    what: string,
    signal: AbortSignal | undefined,
    begin: (done: (error?: Error | null) => void) => void,
  ): Promise<void> {
    const { timeout } = this.#config;
    return new Promise<void>((resolve, reject) => {
      const leave = (): void => {
        clearTimeout(late);
        signal?.removeEventListener('abort', aborted);
        this.#waiters.delete(failed);
      };
      const failed = (error: Error): void => {
        leave();
        reject(error);
      };
      const aborted = (): void => this.#fail(new Error('stopped'));
      const late = setTimeout(
        () => this.#fail(new Error(`${what} took longer than "timeout", ${timeout} ms`)),
        timeout,
      );
      this.#waiters.add(failed);
      signal?.addEventListener('abort', aborted);
      begin((error) => {
        if (error != null) return this.#fail(error);
        leave();
        resolve();
      });
    });
  }

  #connect(): StreamConnection {
    const connection = new StreamConnection((this.#connections += 1));
    this.#open.add(connection);
    connection.ready = this.#dial(connection);
    connection.ready.catch((error: Error) => {
      if (this.#open.has(connection)) this.#fail(error);
    });
    return connection;
  }

  async #dial(connection: StreamConnection): Promise<Socket> {
    const host = this.#url.hostname.replace(/^\[|\]$/g, '');
    const port = Number(this.#url.port);
    const tls = this.#url.protocol === 'tls:' ? await readTls(this.#config.tls) : undefined;
    if (!this.#open.has(connection)) throw this.#failure ?? new Error('given up');
    const name = isIP(host) === 0 ? { servername: host } : {};
    const socket =
      tls === undefined ? connectTcp({ host, port }) : connectTls({ host, port, ...tls, ...name });
    connection.socket = socket;
    const broken = (error: Error): void => {
      if (this.#open.has(connection)) this.#fail(error);
    };
    socket.on('error', broken);
    socket.on('end', () => this.#onEnd(connection));
    socket.on('close', () => broken(new Error('the connection was closed by the receiver')));
    socket.resume().setNoDelay(true).setKeepAlive(true, 30_000);
    await this.#during('connecting', undefined, (done) =>
      socket.once(tls === undefined ? 'connect' : 'secureConnect', () => done()),
    );
    return socket;
  }

  /** The receiver has ended a connection. */
  #onEnd(connection: StreamConnection): void {
    if (!this.#open.delete(connection)) return;
    connection.socket?.destroy();
    if (connection.endedAt > 0) return this.#finish(connection);
    // A receiver that ends the connection by itself may not have read what is still on its way.
    const isIdle =
      !connection.isUsed &&
      this.#ending === undefined &&
      this.#ended.length === 0 &&
      this.#marks.length === 0;
    if (!isIdle) this.#fail(new Error('the connection was ended by the receiver'));
    else if (this.#current === connection) this.#current = undefined;
  }

  /** A connection was ended in order, from both sides: that may prove that earlier ones were read to their end. */
  #finish({ number, isUsed, endedAt }: StreamConnection): void {
    this.#ending = undefined;
    const { settle } = this.#config.confirm;
    // Ended one after the other: those that ended first have the lower numbers.
    const isProven = ({ at }: Ended): boolean => at + settle <= endedAt;
    this.#proven = this.#ended.findLast(isProven)?.number ?? this.#proven;
    this.#ended = this.#ended.filter((ended) => !isProven(ended));
    if (isUsed) this.#ended.push({ number, at: performance.now() });
    while (this.#marks.length > 0 && this.#marks[0]!.upTo <= this.#proven) this.#marks.shift()!.resolve();
    if (this.#isEndDue) this.#endCurrent();
    this.#schedule();
  }

  /** Ends the current connection, once its successor is there. */
  #endCurrent(): void {
    if (this.#ending !== undefined || this.#current === undefined) {
      this.#isEndDue = this.#ending !== undefined;
      return;
    }
    this.#isEndDue = false;
    const connection = this.#current;
    const now = performance.now();
    const { settle } = this.#config.confirm;
    const isLast = !connection.isUsed && this.#ended.every(({ at }) => at + settle <= now);
    this.#ending = connection;
    this.#current = isLast ? undefined : this.#connect();
    // An error fails the connections, and everything that waits for them.
    this.#end(connection, this.#current).catch(() => undefined);
  }

  async #end(connection: StreamConnection, next: StreamConnection | undefined): Promise<void> {
    await next?.ready;
    const socket = await connection.ready;
    await connection.busy;
    if (!this.#open.has(connection)) return;
    connection.endedAt = performance.now();
    await this.#during('waiting for the receiver to end the connection', undefined, (done) => {
      socket.once('end', () => done()).end();
    });
  }

  /** A confirmation is waited for, and no message comes that would make a later connection end: it is ended without one. */
  #schedule(): void {
    const first = this.#ended.find(({ number }) => number === this.#marks[0]?.upTo);
    if (this.#timer !== undefined || first === undefined) return;
    const wait = first.at + this.#config.confirm.settle - performance.now();
    if (wait <= 0) return this.#endCurrent();
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#schedule();
    }, Math.ceil(wait));
  }
}

import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { readTls } from './secret.js';
import { TAKEN, type Outgoing, type SinkConfig, type Transport } from './sink.js';

/**
 * Messages over TCP or TLS. TCP says nothing of what the other side has read: what lies in the buffers of a connection that
 * dies is lost, and every write had worked. So the connection itself is the acknowledgement: it is ended, and a receiver
 * that ends it too, in order, has read all of it; one that dies or is cut off resets it, or says nothing.
 *
 * INVARIANT: what was sent over a connection that the receiver did not end in answer to ours is sent again.
 *
 * @param frame a message with what tells it from the next one.
 */
export function openStream(config: SinkConfig, frame: (message: Outgoing) => string): Transport {
  const url = new URL(config.url);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = Number(url.port);
  let socket: Socket | undefined;
  let failure: Error | undefined;

  const drop = (error: Error): void => {
    failure ??= error;
    socket?.destroy();
    socket = undefined;
  };

  const endedByReceiver = (): void => {
    failure ??= new Error('the connection was ended by the receiver');
  };

  /** What `begin` starts, within the time-out and until the connection fails. */
  const during = (
    on: Socket,
    signal: AbortSignal,
    what: string,
    begin: (done: (error?: Error | null) => void) => void,
  ): Promise<void> =>
    new Promise<void>((resolve, reject) => {
      const finish = (error?: Error | null): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', aborted);
        on.off('error', finish).off('close', closed);
        if (error == null) resolve();
        else {
          drop(error);
          reject(error);
        }
      };
      const closed = (): void => finish(new Error(`the connection was closed by the receiver (${what})`));
      const aborted = (): void => finish(new Error('stopped'));
      const timer = setTimeout(
        () => finish(new Error(`${what} took longer than "timeout", ${config.timeout} ms`)),
        config.timeout,
      );
      signal.addEventListener('abort', aborted);
      on.on('error', finish).on('close', closed);
      begin(finish);
    });

  const connect = async (signal: AbortSignal): Promise<Socket> => {
    const tls = url.protocol === 'tls:' ? await readTls(config.tls) : undefined;
    const name = isIP(host) === 0 ? { servername: host } : {};
    const made = tls === undefined ? connectTcp({ host, port }) : connectTls({ host, port, ...tls, ...name });
    failure = undefined;
    socket = made;
    // Once nobody waits for it any more, a failure is remembered until the next message.
    made.on('error', (error: Error) => {
      failure ??= error;
    });
    // A receiver that ends the connection by itself may not have read what is still on its way.
    made.on('end', endedByReceiver);
    made.resume().setNoDelay(true).setKeepAlive(true, 30_000);
    await during(made, signal, 'connecting', (done) =>
      made.once(tls === undefined ? 'connect' : 'secureConnect', () => done()),
    );
    return made;
  };

  return {
    async send(messages, signal) {
      if (failure !== undefined && socket !== undefined) throw failure;
      const on = socket ?? (await connect(signal));
      const bytes = Buffer.from(messages.map(frame).join(''));
      await during(on, signal, 'sending', (done) => void on.write(bytes, done));
      return TAKEN;
    },
    async confirm(signal) {
      const on = socket;
      if (on === undefined || failure !== undefined) throw failure ?? new Error('the connection is gone');
      on.off('end', endedByReceiver);
      await during(on, signal, 'waiting for the receiver to end the connection', (done) => {
        on.once('end', () => done());
        on.end();
      });
      // The end has come, no reset before it: nothing was left unread.
      socket = undefined;
      on.destroy();
    },
    reset() {
      drop(new Error('given up'));
      failure = undefined;
    },
    close: async () => drop(new Error('stopped')),
  };
}

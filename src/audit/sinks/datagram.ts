import { createSocket, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { TAKEN, type Outgoing, type SinkConfig, type Transport } from './sink.js';

/** Messages over UDP: there is no acknowledgement, so a message counts as delivered once it was sent. */
export function openDatagrams(
  config: SinkConfig,
  pack: (message: Outgoing) => readonly Buffer[] | string,
): Transport {
  const url = new URL(config.url);
  let socket: Socket | undefined;
  let failure: Error | undefined;
  const reset = (): void => {
    socket?.close();
    socket = undefined;
    failure = undefined;
  };
  const connect = async (): Promise<Socket> => {
    const { address, family } = await lookup(url.hostname.replace(/^\[|\]$/g, ''));
    const made = createSocket(family === 6 ? 'udp6' : 'udp4');
    // "Port unreachable" (ICMP) for an earlier datagram arrives as an error of the socket.
    made.on('error', (error) => (failure = error));
    // Node hands a failure to this callback, not to the error event: a host without a route, for instance.
    await new Promise<void>((resolve, reject) => {
      made.connect(Number(url.port), address, (error?: Error) => {
        if (!error) resolve();
        else {
          made.close();
          reject(error);
        }
      });
    });
    return (socket = made);
  };
  return {
    async send(messages, signal) {
      const on = socket ?? (await connect());
      const refused = new Map<Outgoing, string>();
      for (const message of messages) {
        signal.throwIfAborted();
        const datagrams = pack(message);
        if (typeof datagrams === 'string') refused.set(message, datagrams);
        else {
          for (const datagram of datagrams) {
            await new Promise<void>((resolve, reject) =>
              on.send(datagram, (error) => (error === null ? resolve() : reject(error))),
            );
          }
        }
        if (failure !== undefined) throw failure;
      }
      return { ...TAKEN, refused };
    },
    reset,
    close: async () => reset(),
  };
}

import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { LRUCache } from 'lru-cache';
import { atMost } from '../base/bounded.js';
import { parseAddress } from '../base/address.js';
import { isWithin, type Network } from '../base/network.js';
import { ignoreSocketErrors } from '../base/socket-errors.js';
import { readQuery, writeError, type Query } from './dns-message.js';

/** Listens for questions, over UDP and TCP. */
export interface DnsServer {
  close(): Promise<void>;
}

export interface DnsServerOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** Others are not answered at all. */
  readonly clients: readonly Network[];
  /** Questions a second and client. */
  readonly rate: number;
  answer(query: Query, client: string): Promise<Buffer>;
}

const MAX_CLIENTS = 4_096;
const MAX_CONNECTIONS = 512;
/** Questions of one connection that wait for an answer. */
const MAX_PIPELINED = 32;
const MAX_OUTSTANDING = 4_096;
/** Longest question: a name of 255 bytes with EDNS options fits many times. */
const MAX_QUERY_LENGTH = 4_096;
const IDLE_TIMEOUT_MS = 15_000;
/** Without EDNS (RFC 1035); with it, what gets through in one piece. */
const MIN_UDP_SIZE = 512;
const MAX_UDP_SIZE = 4_096;

/** @throws Error when an address cannot be listened on. */
export async function listenDns(options: DnsServerOptions): Promise<DnsServer> {
  const questions = new Questions(options);
  const { host, port } = options.listen;
  const udp = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', reuseAddr: true });
  udp.on('message', (message, peer) => {
    const client = questions.clientAt(peer.address);
    if (client === undefined || !questions.mayAsk(client)) return;
    void questions
      .answer(message, client, ({ edns }) => Math.min(edns?.size ?? MIN_UDP_SIZE, MAX_UDP_SIZE))
      .then((answer) => {
        if (answer !== undefined && isOpen(udp)) udp.send(answer, peer.port, peer.address, () => undefined);
      });
  });
  const { tcp, cut } = acceptConnections(questions);
  udp.bind(port, host);
  await once(udp, 'listening');
  tcp.listen(port, host);
  try {
    await once(tcp, 'listening');
  } catch (error) {
    udp.close();
    throw error;
  }
  udp.on('error', () => undefined);
  tcp.on('error', () => undefined);
  return {
    async close() {
      cut();
      const closed = once(tcp, 'close');
      tcp.close();
      udp.close();
      await closed;
    },
  };
}

/** @returns the server, and what cuts its open connections. */
function acceptConnections(questions: Questions): { readonly tcp: Server; readonly cut: () => void } {
  const open = new Set<Socket>();
  const tcp = ignoreSocketErrors(
    createServer({ noDelay: true }, (socket) => {
      open.add(socket);
      socket.once('close', () => open.delete(socket));
      const client = questions.clientAt(socket.remoteAddress ?? '');
      if (client === undefined) {
        socket.destroy();
        return;
      }
      serveConnection(socket, async (message) =>
        questions.mayAsk(client) ? questions.answer(message, client, () => 65_535) : undefined,
      );
    }),
  );
  tcp.maxConnections = MAX_CONNECTIONS;
  return {
    tcp,
    cut: () => {
      for (const socket of open) socket.destroy();
    },
  };
}

/** Who may ask, how often, and how many questions wait for an answer. */
class Questions {
  readonly #options: DnsServerOptions;
  readonly #buckets = new LRUCache<string, { tokens: number; at: number }>(atMost(MAX_CLIENTS));
  #outstanding = 0;

  constructor(options: DnsServerOptions) {
    this.#options = options;
  }

  /** @returns undefined for an address that is not answered. */
  clientAt(address: string): string | undefined {
    const parsed = parseAddress(address.split('%', 1)[0]!);
    if (parsed === undefined || !isWithin(parsed, this.#options.clients)) return undefined;
    return address.replace(/^::ffff:/, '');
  }

  /** A token bucket: twice the rate at once, then the rate. */
  mayAsk(client: string): boolean {
    const { rate } = this.#options;
    const now = performance.now();
    const bucket = this.#buckets.get(client) ?? { tokens: rate * 2, at: now };
    bucket.tokens = Math.min(rate * 2, bucket.tokens + ((now - bucket.at) / 1000) * rate);
    bucket.at = now;
    this.#buckets.set(client, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  /** @returns undefined: nothing is sent. */
  async answer(
    message: Buffer,
    client: string,
    limit: (query: Query) => number,
  ): Promise<Buffer | undefined> {
    if (this.#outstanding >= MAX_OUTSTANDING || message.length > MAX_QUERY_LENGTH) return undefined;
    const read = readQuery(message);
    if (!read.ok) return read.code === undefined ? undefined : writeError(message, read.code);
    this.#outstanding++;
    try {
      const answer = await this.#options.answer(read.query, client);
      return answer.length <= limit(read.query) ? answer : truncate(answer, read.query);
    } finally {
      this.#outstanding--;
    }
  }
}

function isOpen(socket: UdpSocket): boolean {
  try {
    socket.address();
    return true;
  } catch {
    return false;
  }
}

/** Header and question, with TC set: the client asks again over TCP. */
function truncate(answer: Buffer, query: Query): Buffer {
  const cut = Buffer.from(answer.subarray(0, 12 + query.question.length));
  cut.writeUInt16BE(cut.readUInt16BE(2) | 0x0200, 2);
  cut.writeUInt32BE(0, 6);
  cut.writeUInt16BE(0, 10);
  return cut;
}

/** Messages with their length before them (RFC 7766). Anything unexpected ends the connection. */
function serveConnection(socket: Socket, serve: (message: Buffer) => Promise<Buffer | undefined>): void {
  let rest = Buffer.alloc(0);
  let waiting = 0;
  socket.setTimeout(IDLE_TIMEOUT_MS, () => socket.destroy());
  const take = (): void => {
    while (rest.length >= 2 && waiting < MAX_PIPELINED) {
      const length = rest.readUInt16BE(0);
      if (length === 0 || length > MAX_QUERY_LENGTH) {
        socket.destroy();
        return;
      }
      if (rest.length < 2 + length) break;
      const message = Buffer.from(rest.subarray(2, 2 + length));
      rest = rest.subarray(2 + length);
      waiting++;
      void serve(message).then((answer) => {
        waiting--;
        if (answer === undefined) {
          socket.destroy();
          return;
        }
        const head = Buffer.alloc(2);
        head.writeUInt16BE(answer.length);
        socket.write(Buffer.concat([head, answer]));
        take();
      });
    }
    if (waiting >= MAX_PIPELINED) socket.pause();
    else socket.resume();
  };
  socket.on('data', (piece: Buffer) => {
    rest = Buffer.concat([rest, piece]);
    take();
  });
}

import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { ignoreErrors } from '../base/socket-errors.js';
import { readResponse, writeQuery, type Query, type Response } from './dns-message.js';

/** One resolver further on. */
export interface Upstream {
  readonly host: string;
  readonly port: number;
}

/** For one try; a resolver that has to ask around takes a second. */
const TIMEOUT_MS = 2_000;
const TRIES = 2;
/** Larger answers do not get through every network in one piece (DNS flag day 2020). */
const UDP_SIZE = 1232;

/**
 * Asks the resolvers one after the other, twice. Each question has a port and an id of its own, drawn at random; an
 * answer from elsewhere, with another id or another question is not heard. A cut answer is asked for again over TCP.
 *
 * @throws Error when none answers in time.
 */
export async function queryUpstream(upstream: readonly Upstream[], query: Query): Promise<Response> {
  let last: unknown;
  for (let turn = 0; turn < TRIES; turn++) {
    for (const server of upstream) {
      try {
        const answer = await queryUdp(server, query);
        return answer.truncated ? await queryTcp(server, query) : answer;
      } catch (error) {
        last = error;
      }
    }
  }
  throw new Error(`no resolver answered: ${(last as Error).message}`);
}

function queryUdp({ host, port }: Upstream, query: Query): Promise<Response> {
  return new Promise((resolve, reject) => {
    const id = randomInt(65_536);
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    ignoreErrors(socket);
    const done = (): void => {
      clearTimeout(timer);
      socket.close();
    };
    const fail = (error: Error): void => {
      done();
      reject(error);
    };
    const timer = setTimeout(() => fail(new Error(`${host} did not answer in ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
    socket.once('error', fail);
    socket.on('message', (message) => {
      // Forged or damaged: the true one may still come.
      const response = readResponse(message, id, query);
      if (response === undefined) return;
      done();
      resolve(response);
    });
    // A connected socket hears its peer alone. The kernel draws the port.
    // Node hands a failure to this callback, not to the error event: a host without a route, for instance.
    socket.connect(port, host, (error?: Error) => {
      if (error) fail(error);
      else socket.send(writeQuery(id, query, UDP_SIZE));
    });
  });
}

function queryTcp({ host, port }: Upstream, query: Query): Promise<Response> {
  return new Promise((resolve, reject) => {
    const id = randomInt(65_536);
    const socket = connect({ host, port });
    const pieces: Buffer[] = [];
    let size = 0;
    const fail = (error: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(
      () => fail(new Error(`${host} did not answer over TCP in ${TIMEOUT_MS} ms`)),
      TIMEOUT_MS,
    );
    socket.on('error', fail);
    socket.once('close', () => fail(new Error(`${host} closed the connection`)));
    socket.on('data', (piece: Buffer) => {
      pieces.push(piece);
      size += piece.length;
      if (size < 2) return;
      const all = Buffer.concat(pieces);
      const length = all.readUInt16BE(0);
      if (size < 2 + length) return;
      const response = readResponse(all.subarray(2, 2 + length), id, query);
      if (response === undefined || response.truncated) {
        fail(new Error(`${host} answered over TCP with something else`));
        return;
      }
      clearTimeout(timer);
      resolve(response);
      socket.destroy();
    });
    const message = writeQuery(id, query, UDP_SIZE);
    const length = Buffer.alloc(2);
    length.writeUInt16BE(message.length);
    socket.on('connect', () => socket.write(Buffer.concat([length, message])));
  });
}

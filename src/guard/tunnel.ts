import { Transform, type Duplex, type Readable } from 'node:stream';
import type { Socket } from 'node:net';
import type { Call } from '../docker/call.js';
import { renderBody, renderHeaders, renderTarget } from '../docker/render.js';
import type { End, Exchange } from './exchange.js';
import { finish } from './finish.js';
import { exchangeWith } from './forward.js';
import { flowOf } from './limits.js';
import type { GuardState } from './state.js';

/**
 * forward, for operations that hijack their connection (attach, exec start, attach/ws, session, grpc): the engine
 * is asked first; only its 101 opens the tunnel, any other answer is an ordinary one.
 *
 * The engine is always asked to upgrade, so that its answer is unambiguous; a client that did not ask for an upgrade
 * gets the output as an ordinary streamed answer.
 */
export function tunnel(guard: GuardState, exchange: Exchange, call: Call): void {
  const body = renderBody(call);
  // A body has been read, refused or dropped; what follows it is the client's stdin.
  const input = exchange.upgrade?.rest(exchange.reading!.framing);
  exchangeWith(
    guard,
    exchange,
    {
      method: call.operation.method,
      target: renderTarget(call),
      headers: renderHeaders(call),
      body,
      // dockerd 20.10 hijacks right after the JSON value: a chunked body's end marker would become stdin.
      length: call.operation.method === 'POST' ? 0 : undefined,
      // By operation, never what the client wrote.
      upgrade: call.operation.does.upgrade ?? 'tcp',
      // For the 101 alone, which dockerd writes before anything runs; the tunnel then has no limit.
      timeout: guard.config.upstream.timeout,
    },
    {
      onUpgrade(head, upstream) {
        if (input === undefined) streamOutput(guard, exchange, head, upstream);
        else joinSockets(guard, exchange, head, upstream, input);
      },
    },
  );
}

/** The client asked for the upgrade: from here on bytes pass both ways, each side closing on its own. */
function joinSockets(
  guard: GuardState,
  exchange: Exchange,
  head: string[],
  engine: Socket,
  input: Readable,
): void {
  const { socket, response } = exchange;
  response.removeAllListeners('close');
  response.detachSocket(socket);
  const before = socket.bytesRead;
  let text = `HTTP/1.1 101 UPGRADED\r\n`;
  for (let i = 0; i < head.length; i += 2) text += `${head[i]}: ${head[i + 1]}\r\n`;
  socket.write(`${text}\r\n`, 'latin1');

  const written = socket.bytesWritten;
  settle(guard, exchange, 101, socket, engine, () => {
    exchange.bytesIn += socket.bytesRead - before;
    exchange.bytesOut += socket.bytesWritten - written;
  });
  socket.setNoDelay?.(true);
  socket.setTimeout(0);
  // Half-close passes: the end of stdin must reach the process while its output still flows.
  measured(exchange, input).pipe(engine);
  measured(exchange, engine).pipe(socket);
}

/** What comes out of one side; no faster than the byte limits of the caller's sources let it. */
function measured(exchange: Exchange, side: Readable): Readable {
  const flow = flowOf(exchange);
  if (flow === undefined) return side;
  return side.pipe(
    new Transform({
      transform(piece: Buffer, _encoding, pass) {
        const go = (): void => pass(null, piece);
        if (flow(piece.length, go)) go();
      },
    }),
  );
}

/** No upgrade asked for: what dockerd answers with 200 and raw bytes until the connection closes. */
function streamOutput(guard: GuardState, exchange: Exchange, head: string[], engine: Socket): void {
  const { response } = exchange;
  response.removeAllListeners('close');
  const type = head.findIndex((name, i) => i % 2 === 0 && name.toLowerCase() === 'content-type');
  response.writeHead(200, [
    'Content-Type',
    type === -1 ? 'application/vnd.docker.raw-stream' : head[type + 1]!,
    'Connection',
    'close',
  ]);
  response.flushHeaders();
  settle(guard, exchange, 200, response as unknown as Socket, engine, () => {
    exchange.bytesOut += engine.bytesRead;
  });
  engine.end();
  measured(exchange, engine).pipe(response);
}

/** One outcome for the pair: when either side is gone, the other is closed too, at once. */
function settle(
  guard: GuardState,
  exchange: Exchange,
  status: number,
  client: Duplex,
  engine: Duplex,
  count: () => void,
): void {
  const stop = (how: End): void => {
    if (!exchange.finished) {
      count();
      finish(guard, exchange, status, how);
    }
    client.destroy();
    engine.destroy();
  };
  exchange.cut = stop;
  client.on('error', () => stop('client-gone'));
  engine.on('error', () => stop('upstream-error'));
  client.on('close', () => stop(engine.readableEnded ? 'complete' : 'client-gone'));
  engine.on('close', () => {
    if (!engine.readableEnded) {
      stop('upstream-error');
    } else if (!exchange.finished) {
      // Everything was read from the engine; what is still on its way to the client may finish. What waits for the byte
      // limits is on its way, too: the pipe ends the client's side behind it.
      if (flowOf(exchange) === undefined) client.end();
      if (client.writableFinished) stop('complete');
      else client.once('finish', () => stop('complete'));
    }
  });
}

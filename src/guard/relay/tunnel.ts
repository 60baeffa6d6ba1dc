import { Transform, type Readable } from 'node:stream';
import type { Socket } from 'node:net';
import type { Flow } from '../../capture/relay-body.js';
import type { HeadReading } from '../../docker/read.js';
import { renderBody, renderHeaders, renderTarget } from '../../docker/render.js';
import type { End, Outcome } from '../outcome.js';
import type { ReplyEvents } from '../reply.js';
import { passOn, type Exchange } from './answer.js';
import { startExchange } from './relay.js';

/**
 * Operations that hijack their connection (attach, exec start, attach/ws, session, grpc): the engine is asked first; only
 * its 101 opens the tunnel, any other answer is an ordinary one.
 *
 * The engine is always asked to upgrade, so that its answer is unambiguous; a client that did not ask for an upgrade
 * gets the output as an ordinary streamed answer.
 */
export function tunnel(exchange: Exchange, head: HeadReading): Promise<Outcome> {
  const { guard, incoming, judgement } = exchange;
  const call = judgement.sent;
  // A body has been read, refused or dropped; what follows it is the client's stdin.
  const input = incoming.reply.streamBehind(head.framing);
  return new Promise((resolve) => {
    const answer = startExchange(
      exchange,
      {
        method: call.operation.method,
        target: renderTarget(call),
        headers: renderHeaders(call),
        body: renderBody(call),
        // dockerd 20.10 hijacks right after the JSON value: a chunked body's end marker would become stdin.
        length: call.operation.method === 'POST' ? 0 : undefined,
        // By operation, never what the client wrote.
        upgrade: call.operation.does.upgrade ?? 'tcp',
        // For the 101 alone, which dockerd writes before anything runs; the tunnel then has no limit.
        timeout: guard.config.upstream.timeout,
      },
      {
        wrap: (client) => (next) => ({
          ...passOn(next),
          onUpgrade(_status, headers, engine) {
            if (client.isOver) {
              engine.destroy();
              return;
            }
            client.detach();
            const outcome =
              input === undefined
                ? streamOutput(exchange, headers, engine)
                : joinSockets(exchange, input, headers, engine);
            void outcome.then((result) =>
              resolve({ ...result, bytesIn: result.bytesIn + exchange.progress.bytesIn }),
            );
          },
        }),
      },
    );
    void answer.outcome.then(resolve);
  });
}

/** The client asked for the upgrade: from here on bytes pass both ways, each side closing on its own. */
function joinSockets(
  { incoming, flow }: Exchange,
  input: Readable,
  head: readonly string[],
  engine: Socket,
): Promise<Outcome> {
  const client = incoming.reply.takeConnection();
  const before = client.bytesRead;
  let text = `HTTP/1.1 101 UPGRADED\r\n`;
  for (let i = 0; i < head.length; i += 2) text += `${head[i]}: ${head[i + 1]}\r\n`;
  client.write(`${text}\r\n`, 'latin1');
  const written = client.bytesWritten;
  client.setNoDelay?.(true);
  client.setTimeout(0);
  return new Promise((resolve) => {
    let isOver = false;
    const stop = (end: End): void => {
      if (!isOver) {
        isOver = true;
        incoming.reply.listen(undefined);
        const bytes = {
          bytesIn: client.bytesRead - before,
          bytesOut: client.bytesWritten - written,
        };
        resolve({ status: 101, end, ...bytes });
      }
      client.destroy();
      engine.destroy();
    };
    incoming.reply.listen(cutting(stop));
    client.on('error', () => stop('client-gone'));
    client.on('close', () => stop(engine.readableEnded ? 'complete' : 'client-gone'));
    engine.on('error', () => stop('upstream-error'));
    engine.on('close', () => {
      if (!engine.readableEnded) {
        stop('upstream-error');
      } else if (!isOver) {
        // Everything was read from the engine; what is still on its way to the client may finish. What waits for the
        // byte limits is on its way, too: the pipe ends the client's side behind it.
        if (flow === undefined) client.end();
        if (client.writableFinished) stop('complete');
        else client.once('finish', () => stop('complete'));
      }
    });
    // Half-close passes: the end of stdin must reach the process while its output still flows.
    paced(input, flow).pipe(engine);
    paced(engine, flow).pipe(client);
  });
}

/** No upgrade asked for: what dockerd answers with 200 and raw bytes until the connection closes. */
function streamOutput(
  { incoming: { reply }, flow }: Exchange,
  head: readonly string[],
  engine: Socket,
): Promise<Outcome> {
  const type = head.findIndex((name, i) => i % 2 === 0 && name.toLowerCase() === 'content-type');
  reply.begin(200, [
    ...['Content-Type', type === -1 ? 'application/vnd.docker.raw-stream' : head[type + 1]!],
    ...['Connection', 'close'],
  ]);
  engine.end();
  const output = paced(engine, flow);
  return new Promise((resolve) => {
    const stop = (end: End): void => {
      reply.listen(undefined);
      resolve({ status: 200, end, bytesIn: 0, bytesOut: engine.bytesRead });
      if (end === 'complete') reply.end();
      else reply.cut();
      engine.destroy();
    };
    reply.listen({ ...cutting(stop), onDrain: () => void output.resume() });
    output.on('data', (piece: Buffer) => {
      reply.write(piece);
      if (!reply.takesMore) output.pause();
    });
    output.once('end', () => stop('complete'));
    output.resume();
    engine.once('error', () => stop('upstream-error'));
    engine.once('close', () => {
      if (!engine.readableEnded) stop('upstream-error');
    });
  });
}

const cutting = (stop: (end: End) => void): ReplyEvents => ({
  onCut: stop,
  onDrain: () => {},
  endsWithInput: false,
});

/** What comes out of one side; no faster than the byte limits of the caller's sources let it. */
function paced(side: Readable, flow: Flow | undefined): Readable {
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

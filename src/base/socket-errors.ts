/** What a socket, or a stream in its place, has to offer here. */
interface ErrorSource {
  on(event: 'error', listener: (error: Error) => void): unknown;
}

/** A server of `node:net`, `node:tls`, `node:http` or `node:https`. */
interface SocketServer {
  prependListener(event: 'connection' | 'secureConnection', listener: (socket: ErrorSource) => void): unknown;
}

const ignore = (): void => {};

/**
 * INVARIANT: no error of a connection ends the process. An `error` event without a listener would, and node's HTTP
 * server removes its own listener when it hands a socket over (`connect`, `upgrade`).
 *
 * There is nothing to do for the listener: a socket that fails destroys itself, and `close` follows.
 */
export function ignoreErrors(stream: ErrorSource): void {
  stream.on('error', ignore);
}

/**
 * Every server that accepts connections passes through here before it listens: each socket then has a listener for
 * errors from the turn in which it is accepted until it is gone. A stream that node puts in place of the socket
 * (`upgrade` since Node 26) needs `ignoreErrors` of its own.
 */
export function ignoreSocketErrors<S extends SocketServer>(server: S): S {
  server.prependListener('connection', ignoreErrors);
  server.prependListener('secureConnection', ignoreErrors);
  return server;
}

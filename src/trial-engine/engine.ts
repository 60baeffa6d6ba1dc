import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { ignoreErrors, ignoreSocketErrors } from '../base/socket-errors.js';
import {
  buildProgress,
  containerInspect,
  containerSummary,
  imageInspect,
  imageSummary,
  infoAnswer,
  logText,
  stdcopyFrame,
  trialApiVersion,
  trialMinApiVersion,
  trialName,
  versionAnswer,
} from './answers.js';
import {
  TrialError,
  addContainer,
  addImage,
  createTrialStore,
  findContainer,
  findImage,
  isRecord,
  removeContainer,
  removeImage,
  startContainer,
  trialLimits,
} from './store.js';
import type { TrialContainer, TrialStore } from './store.js';

interface Exchange {
  readonly store: TrialStore;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The one variable part of the path, decoded. */
  readonly name: string;
  readonly query: URLSearchParams;
}
type Handler = (exchange: Exchange) => void | Promise<void>;

/**
 * Starts the engine that Breakwater guards when there is no Docker on this machine: enough of the Engine API to try
 * a policy with the docker CLI or an SDK. It runs, builds and contacts nothing, says so in every answer that a user
 * sees, keeps everything in memory within `trialLimits`, and listens on a unix socket in a new directory that only
 * this user can enter. Rejects when the socket cannot be made.
 */
export async function startTrialEngine(): Promise<{ url: string; close(): Promise<void> }> {
  const store = createTrialStore();
  const server = ignoreSocketErrors(
    createServer({ insecureHTTPParser: false }, (request, response) => {
      answer(store, request, response).catch((error: unknown) => sendError(response, error));
    }),
  );
  server.maxConnections = 256;
  const attached = new Set<Duplex>();
  server.on('upgrade', (request, socket) => {
    ignoreErrors(socket);
    attached.add(socket);
    socket.on('close', () => attached.delete(socket));
    upgrade(store, request, socket);
  });
  server.on('clientError', (_error, socket) => socket.destroy());

  // mkdtemp makes the directory 0700: other users of the machine can not reach the socket.
  const directory = await mkdtemp(join(tmpdir(), 'breakwater-trial-'));
  const path = join(directory, 'docker.sock');
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw new Error(
      `trial engine: cannot listen on ${path}: ${error instanceof Error ? error.message : ''}`,
      {
        cause: error,
      },
    );
  }
  return {
    url: `unix://${path}`,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      // Attached connections have left the HTTP server's books.
      for (const socket of attached) socket.destroy();
      await closed;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Method and path (`*` is one name, which may hold slashes) → handler. */
const routes: readonly (readonly [string, RegExp, Handler])[] = [
  ['GET', /^\/_ping$/, ping],
  ['HEAD', /^\/_ping$/, ping],
  ['GET', /^\/version$/, ({ response }) => sendJson(response, 200, versionAnswer())],
  ['GET', /^\/info$/, ({ response, store }) => sendJson(response, 200, infoAnswer(store))],
  ['GET', /^\/images\/json$/, listImages],
  ['GET', /^\/images\/(.+)\/json$/, inspectImage],
  ['DELETE', /^\/images\/(.+)$/, deleteImage],
  ['POST', /^\/build$/, build],
  ['GET', /^\/containers\/json$/, listContainers],
  ['POST', /^\/containers\/create$/, create],
  ['GET', /^\/containers\/([^/]+)\/json$/, inspectContainer],
  ['POST', /^\/containers\/([^/]+)\/start$/, start],
  ['GET', /^\/containers\/([^/]+)\/logs$/, logs],
  ['POST', /^\/containers\/([^/]+)\/wait$/, wait],
  ['POST', /^\/containers\/([^/]+)\/stop$/, stop],
  ['DELETE', /^\/containers\/([^/]+)$/, deleteContainer],
];

async function answer(store: TrialStore, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { path, query } = readTarget(request.url ?? '');
  for (const [method, pattern, handler] of routes) {
    const match = request.method === method ? pattern.exec(path) : null;
    if (match === null) continue;
    await handler({ store, request, response, name: match[1] ?? '', query });
    return;
  }
  throw notImplemented(request.method ?? '', path);
}

/** Path without its version prefix, decoded, and query. Throws 400 in Docker's words for a version we do not have. */
function readTarget(url: string): { path: string; query: URLSearchParams } {
  const mark = url.indexOf('?');
  const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
  let path: string;
  try {
    path = decodeURIComponent(mark < 0 ? url : url.slice(0, mark));
  } catch {
    throw new TrialError(400, 'the path is not valid percent-encoding');
  }
  const version = /^\/v1\.(\d{1,4})(?=\/)/.exec(path);
  if (version === null) return { path, query };
  const minor = Number(version[1]);
  if (minor > Number(trialApiVersion.slice(2))) {
    throw new TrialError(
      400,
      `client version 1.${minor} is too new. Maximum supported API version is ${trialApiVersion}`,
    );
  }
  if (minor < Number(trialMinApiVersion.slice(2))) {
    throw new TrialError(
      400,
      `client version 1.${minor} is too old. Minimum supported API version is ${trialMinApiVersion}`,
    );
  }
  return { path: path.slice(version[0].length), query };
}

function ping({ request, response }: Exchange): void {
  response.writeHead(200, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Cache-Control': 'no-cache, no-store, must-revalidate',
    Pragma: 'no-cache',
    'Builder-Version': '1',
    Swarm: 'inactive',
    ...commonHeaders,
  });
  response.end(request.method === 'HEAD' ? undefined : 'OK');
}

function listImages({ response, store, query }: Exchange): void {
  refuseFilters(query);
  sendJson(response, 200, [...store.images.values()].reverse().map(imageSummary));
}

function inspectImage({ response, store, name }: Exchange): void {
  sendJson(response, 200, imageInspect(findImage(store, name)));
}

function deleteImage({ response, store, name }: Exchange): void {
  const image = findImage(store, name);
  removeImage(store, image);
  sendJson(response, 200, [...image.tags.map((tag) => ({ Untagged: tag })), { Deleted: image.id }]);
}

/** Reads the context to its end and keeps none of it: constant memory for any size. */
async function build({ request, response, store, query }: Exchange): Promise<void> {
  if (query.get('version') === '2') {
    throw new TrialError(
      501,
      `${trialName}: no BuildKit here; set DOCKER_BUILDKIT=0 for the classic builder`,
    );
  }
  let bytes = 0;
  for await (const chunk of request) bytes += (chunk as Buffer).length;
  const names = query.getAll('t').filter((name) => name !== '');
  const image = addImage(store, names, {});
  const quiet = !['', '0', 'no', 'false', 'none'].includes((query.get('q') ?? '').trim().toLowerCase());
  response.writeHead(200, { 'Content-Type': 'application/json', ...commonHeaders });
  for (const line of buildProgress(image, bytes, query.get('remote') ?? '', quiet)) {
    response.write(`${JSON.stringify(line)}\r\n`);
  }
  response.end();
}

function listContainers({ response, store, query }: Exchange): void {
  refuseFilters(query);
  // Without `all`, Docker lists running containers, and here none ever runs.
  const all = ['1', 'true'].includes((query.get('all') ?? '').toLowerCase());
  sendJson(response, 200, all ? [...store.containers.values()].reverse().map(containerSummary) : []);
}

async function create({ request, response, store, query }: Exchange): Promise<void> {
  const container = addContainer(store, query.get('name') ?? '', await readJson(request));
  sendJson(response, 201, {
    Id: container.id,
    Warnings: [`${trialName}: this container will not run anything`],
  });
}

function inspectContainer({ response, store, name }: Exchange): void {
  sendJson(response, 200, containerInspect(findContainer(store, name)));
}

function start({ response, store, name }: Exchange): void {
  startContainer(store, findContainer(store, name));
  sendEmpty(response, 204);
}

function logs({ response, store, name, query }: Exchange): void {
  const container = findContainer(store, name);
  const wanted = (key: string): boolean => ['1', 'true'].includes((query.get(key) ?? '').toLowerCase());
  if (!wanted('stdout') && !wanted('stderr')) {
    throw new TrialError(400, 'Bad parameters: you must choose at least one stream');
  }
  response.writeHead(200, { 'Content-Type': 'application/vnd.docker.raw-stream', ...commonHeaders });
  response.end(wanted('stdout') ? output(container) : undefined);
}

/** Answers its head at once, as dockerd does: the docker CLI starts the container only after it has seen it. */
function wait({ response, store, name, query }: Exchange): void {
  const container = findContainer(store, name);
  response.writeHead(200, { 'Content-Type': 'application/json', ...commonHeaders });
  response.flushHeaders();
  const finish = (): void => {
    response.end('{"StatusCode":0}\n');
  };
  const condition = query.get('condition');
  const listeners =
    condition === 'next-exit' ? container.onExit : condition === 'removed' ? container.onRemove : undefined;
  if (listeners === undefined) return finish();
  listeners.add(finish);
  response.on('close', () => listeners.delete(finish));
}

function stop({ response, store, name }: Exchange): void {
  findContainer(store, name);
  // 304: it was not running.
  sendEmpty(response, 304);
}

function deleteContainer({ response, store, name }: Exchange): void {
  removeContainer(store, findContainer(store, name));
  sendEmpty(response, 204);
}

/** `docker run` attaches before it starts: the output follows at the start, then the stream ends. */
function upgrade(store: TrialStore, request: IncomingMessage, socket: Duplex): void {
  socket.on('error', () => socket.destroy());
  try {
    const { path, query } = readTarget(request.url ?? '');
    const match = request.method === 'POST' ? /^\/containers\/([^/]+)\/attach$/.exec(path) : null;
    if (match === null) throw notImplemented(request.method ?? '', path);
    const container = findContainer(store, match[1] ?? '');
    socket.write(
      'HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n' +
        'Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n',
    );
    // Whatever arrives as stdin is dropped.
    socket.resume();
    const finish = (): void => {
      socket.end(output(container));
    };
    if (query.get('stream') !== '1') return finish();
    container.onExit.add(finish);
    socket.on('close', () => container.onExit.delete(finish));
  } catch (error) {
    const { status, message } = describe(error);
    const body = `${JSON.stringify({ message })}\n`;
    socket.end(
      `HTTP/1.1 ${status} Error\r\nContent-Type: application/json\r\nConnection: close\r\n` +
        `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
  }
}

/** A container with a terminal has a raw stream, one without has frames. */
function output(container: TrialContainer): string | Buffer {
  const text = logText(container);
  if (text === '') return '';
  return container.config['Tty'] === true ? text.replaceAll('\n', '\r\n') : stdcopyFrame(text);
}

async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  let size = 0;
  // Too much is read to its end and dropped: leaving early would cut the connection before the client has its 413.
  for await (const chunk of request) {
    const bytes = chunk as Buffer;
    size += bytes.length;
    if (size <= trialLimits.jsonBody) chunks.push(bytes);
  }
  if (size > trialLimits.jsonBody) {
    throw new TrialError(413, `request body too large: the limit here is ${trialLimits.jsonBody} bytes`);
  }
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new TrialError(400, 'the request body is not valid JSON');
  }
  if (!isRecord(value)) throw new TrialError(400, 'the request body is not a JSON object');
  return value;
}

/** An answer that ignored a filter would mislead, so a filter is refused. */
function refuseFilters(query: URLSearchParams): void {
  const filters = query.get('filters') ?? '';
  if (filters !== '' && filters !== '{}')
    throw new TrialError(501, `${trialName}: filters are not implemented`);
}

function notImplemented(method: string, path: string): TrialError {
  const what = `${method} ${path}`.slice(0, 200);
  return new TrialError(501, `${trialName}: ${what} is not implemented; try it with a real Docker Engine`);
}

const commonHeaders = {
  'Api-Version': trialApiVersion,
  'Docker-Experimental': 'false',
  Ostype: 'linux',
  Server: 'Breakwater-trial-engine (linux)',
} as const;

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(`${JSON.stringify(value)}\n`);
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': body.length,
    ...commonHeaders,
  });
  response.end(body);
}

function sendEmpty(response: ServerResponse, status: number): void {
  response.writeHead(status, commonHeaders);
  response.end();
}

/** Docker's error shape. After a body that was not read to its end the connection can not be used again. */
function sendError(response: ServerResponse, error: unknown): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { status, message } = describe(error);
  if (!response.req.complete) response.setHeader('Connection', 'close');
  sendJson(response, status, { message });
}

function describe(error: unknown): { status: number; message: string } {
  if (error instanceof TrialError) return { status: error.status, message: error.message };
  return { status: 500, message: `${trialName}: unexpected error` };
}

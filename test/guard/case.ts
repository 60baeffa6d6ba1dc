import { createHash } from 'node:crypto';
import type { Part, TalkOptions } from '../support/raw.js';
import type { Behaviour } from '../support/recording-upstream.js';

/** One raw request (or several) and what must become of it. */
export interface Case {
  /** What the attack, or the honest request that looks like one, is. */
  readonly name: string;
  readonly bytes: string | readonly Part[];
  /** `refused`: it has no single clear reading; `denied`: policy says no; `passes`. */
  readonly expect: 'refused' | 'denied' | 'passes';
  /** Status of every answer on the connection, in order. */
  readonly status: number | readonly number[];
  /** Stable word of the last decision on record: shows that it was stopped for the right reason. */
  readonly code?: string;
  /** Every request that reached the engine, in order: method, target and, after a blank, the body. */
  readonly upstream: readonly string[];
  /** Headers that must have reached the engine with the first request, `name: value`, lower-case names. */
  readonly carries?: readonly string[];
  /** What the engine does; default: 200 and `{"ok":true}`. */
  readonly engine?: Behaviour;
  /** What came over the connection after the engine's 101. */
  readonly stream?: string;
  /** What the answer must hold, latin-1. */
  readonly answer?: string;
  /** The connection must have been closed by the guard. */
  readonly closes?: true;
  readonly talk?: TalkOptions;
}

const CRLF = '\r\n';

/** A request of these exact lines, and a body that is not counted for you. */
export function lines(head: readonly string[], body = ''): string {
  return head.join(CRLF) + CRLF + CRLF + body;
}

export function get(target: string, ...headers: string[]): string {
  return lines([`GET ${target} HTTP/1.1`, 'Host: docker', ...headers]);
}

/** A request with a body and its length in bytes. */
export function send(method: string, target: string, headers: readonly string[], body: string): string {
  return lines(
    [`${method} ${target} HTTP/1.1`, 'Host: docker', ...headers, `Content-Length: ${body.length}`],
    body,
  );
}

export function post(target: string, ...headers: string[]): string {
  return send('POST', target, headers, '');
}

/** Text as UTF-8, one character per byte, as `bytes` of a case are written. */
export function utf8(text: string): string {
  return Buffer.from(text).toString('latin1');
}

const JSON_TYPE = 'Content-Type: application/json';

export function postJson(target: string, body: string, ...headers: string[]): string {
  return send('POST', target, [JSON_TYPE, ...headers], body);
}

/** POST /v1.41/containers/create with this text for a body. */
export function create(body: string, ...headers: string[]): string {
  return postJson('/v1.41/containers/create', utf8(body), ...headers);
}

export function form(target: string, body: string, type = 'application/x-www-form-urlencoded'): string {
  return send('POST', target, [`Content-Type: ${type}`], body);
}

/** In chunks, the last one included. */
export function chunked(method: string, target: string, headers: readonly string[], body: string): string {
  return lines(
    [`${method} ${target} HTTP/1.1`, 'Host: docker', ...headers, 'Transfer-Encoding: chunked'],
    `${body.length.toString(16)}${CRLF}${body}${CRLF}0${CRLF}${CRLF}`,
  );
}

export const PRIVILEGED = '{"Image":"alpine","HostConfig":{"Privileged":true}}';
export const HARMLESS = '{"Image":"alpine","Cmd":["true"]}';
export const CREATE = 'POST /v1.41/containers/create';
/** A container create that takes the host over, without framing tricks of its own. */
export const EVIL = create(PRIVILEGED);
export const PING = get('/_ping');

/** A bearer token that the policy knows. */
export const TOKEN = 'correct-horse-battery-staple';

/** What the policy allows: looking, running without hazards, pulling alpine, building uploaded contexts, exec. */
export const POLICY = {
  sources: {
    insider: { cidr: ['10.0.0.0/8'] },
    robot: { token: [`sha256:${createHash('sha256').update(TOKEN).digest('hex')}`] },
  },
  rules: [
    {
      id: 'look',
      sources: ['*'],
      operations: [
        'SystemPing',
        'SystemPingHead',
        'SystemVersion',
        'SystemEvents',
        'ContainerList',
        'ContainerInspect',
        'ContainerLogs',
        'ImageList',
        'ImageInspect',
      ],
    },
    {
      id: 'run',
      sources: ['*'],
      operations: ['ContainerCreate', 'ContainerStart', 'ContainerStop', 'ContainerKill', 'ContainerRename'],
    },
    {
      id: 'pull',
      sources: ['*'],
      operations: ['ImageCreate'],
      where: { image: 'alpine:*' },
      permit: ['registry-credentials:unnamed'],
    },
    { id: 'build', sources: ['*'], operations: ['ImageBuild'], permit: ['opaque:context'] },
    { id: 'load', sources: ['*'], operations: ['ImageLoad'], permit: ['opaque:image-archive'] },
    {
      id: 'exec',
      sources: ['*'],
      operations: ['ContainerExec', 'ExecStart', 'ContainerAttach', 'ContainerAttachWebsocket'],
      permit: ['attach-stdin'],
    },
    { id: 'delete', sources: ['insider', 'robot'], operations: ['ImageDelete'] },
  ],
};

import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { openOwnerLabels } from '../../src/ownership/owner-labels.js';
import { startGuarded, type Guarded } from '../guard/guarded.js';
import type { Arrived } from '../support/recording-upstream.js';

const root = mkdtempSync(join(tmpdir(), 'bw-owner-races-'));
t.teardown(() => rmSync(root, { recursive: true, force: true }));

const OFF = { 'build-and-run': false, 'pull-and-escape': false, 'exec-spread': false, probing: false };
const POLICY = {
  sources: { a: { listener: ['tcp'] }, b: { listener: ['unix'] } },
  rules: [
    {
      id: 'remove',
      sources: ['a', 'b'],
      operations: ['ImageDelete'],
      permit: ['*'],
      where: { owner: ['self'] },
    },
    {
      id: 'own',
      sources: ['a', 'b'],
      operations: [
        'SystemPing',
        'ContainerCreate',
        'VolumeDelete',
        'VolumeCreate',
        'ImageCreate',
        'ImageBuild',
      ],
      permit: ['*'],
      where: { owner: ['self', 'nobody:image'] },
    },
  ],
};

export const id = (digit: string): string => digit.repeat(64);
const labels = openOwnerLabels(join(root, 'owner.key'));
export const ofA = { 'breakwater.owner': labels.labelFor('a') };

export const http = (
  method: string,
  path: string,
  body: string | Buffer = '',
  type = 'application/json',
): Buffer =>
  Buffer.concat([
    Buffer.from(
      `${method} ${path} HTTP/1.1\r\nHost: x\r\n${body.length === 0 ? '' : `Content-Type: ${type}\r\n`}` +
        `Content-Length: ${body.length}\r\n\r\n`,
    ),
    Buffer.from(body),
  ]);

export function answer(socket: Socket, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  socket.write(
    `HTTP/1.1 ${status} X\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
  );
}

export const isQuestion = ({ headers }: Arrived): boolean =>
  headers.some(([name, value]) => name.toLowerCase() === 'user-agent' && value === 'breakwater');

/** A guard, with an owner behind each listener, in front of an engine that has these objects; `call` deals with what clients send. */
export async function guardBefore(
  objects: Readonly<Record<string, unknown>>,
  call: (request: Arrived, socket: Socket) => void,
): Promise<Guarded> {
  const state = mkdtempSync(join(root, 'state-'));
  copyFileSync(join(root, 'owner.key'), join(state, 'owner.key'));
  const guarded = await startGuarded({ policy: POLICY, config: { ownership: { state }, sequences: OFF } });
  t.teardown(() => guarded.close());
  guarded.upstream.behave = (request, socket) => {
    if (!isQuestion(request)) return call(request, socket);
    const target = request.call.split(' ')[1] ?? '';
    const found = objects[target] ?? objects[decodeURIComponent(target.split('?', 1)[0]!)];
    answer(socket, found === undefined ? 404 : 200, found ?? { message: 'no such object' });
  };
  return guarded;
}

import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { sleep } from './command.js';

/** How a client leaves. `close` ends both halves, and what still comes to it is answered with a reset. */
export const LEAVINGS = ['reset', 'close'] as const;
export type Leaving = (typeof LEAVINGS)[number];

/** A port on 127.0.0.1, or the path of a unix socket (which cannot be reset, only closed). */
export type Place = { readonly port: number; readonly tls?: true } | { readonly path: string };

/**
 * Connects, sends, and leaves after `wait` ms without reading what comes. Never rejects.
 *
 * @param text latin-1
 */
export async function sendAndLeave(place: Place, text: string, wait: number, how: Leaving): Promise<void> {
  const raw = connect({ ...place });
  raw.on('error', () => {});
  const socket = 'tls' in place ? connectTls({ socket: raw, rejectUnauthorized: false }) : raw;
  socket.on('error', () => {});
  if (!(await isConnected(socket, 'tls' in place ? 'secureConnect' : 'connect'))) return;
  if (text !== '') await new Promise((resolve) => socket.write(Buffer.from(text, 'latin1'), resolve));
  await sleep(wait);
  if (how === 'reset' && 'port' in place && !raw.destroyed) raw.resetAndDestroy();
  else raw.destroy();
}

function isConnected(socket: Socket, event: string): Promise<boolean> {
  return new Promise((resolve) => {
    socket.once(event, () => resolve(true));
    socket.once('close', () => resolve(false));
  });
}

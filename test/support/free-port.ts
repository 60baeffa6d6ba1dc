import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below the ports that a kernel gives to clients (ip(7), ip_local_port_range): else one of them could come in between. */
const [FIRST, LAST] = [20_000, 32_000];

/** A port on 127.0.0.1 that was free a moment ago, for TCP and for UDP. @throws Error when there is none. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    if ((await isFree(port, 'tcp')) && (await isFree(port, 'udp'))) return port;
  }
  throw new Error(`no port from ${FIRST} to ${LAST} is free`);
}

async function isFree(port: number, over: 'tcp' | 'udp'): Promise<boolean> {
  const socket = over === 'tcp' ? createServer() : createSocket('udp4');
  try {
    if ('listen' in socket) socket.listen(port, '127.0.0.1');
    else socket.bind(port, '127.0.0.1');
    await once(socket, 'listening');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return false;
    throw error;
  }
  const closed = once(socket, 'close');
  socket.close();
  await closed;
  return true;
}

import type { Call } from '../docker/call.js';
import { Refusal } from '../docker/refusal.js';
import { volumesToMake } from '../policy/ownership.js';
import type { Exchange } from './exchange.js';
import { finish } from './finish.js';
import { forward } from './forward.js';
import { toRefusal } from './record.js';
import { refuse } from './refuse.js';
import type { GuardState } from './state.js';
import { tunnel } from './tunnel.js';

/** forward */
export function send(guard: GuardState, exchange: Exchange, call: Call): void {
  if (tooMany(guard)) refuse(guard, exchange, TOO_MANY);
  else if (volumesToMake(call).length > 0) void sendWithVolumes(guard, exchange, call);
  else sendNow(guard, exchange, call);
}

/** The engine would make the volumes of a container itself, as nobody's. */
async function sendWithVolumes(guard: GuardState, exchange: Exchange, call: Call): Promise<void> {
  try {
    await guard.ownership?.makeVolumes(call);
    if (exchange.socket.writable) sendNow(guard, exchange, call);
    else finish(guard, exchange, 0, 'client-gone');
  } catch (error) {
    refuse(guard, exchange, toRefusal(guard, error));
  }
}

function sendNow(guard: GuardState, exchange: Exchange, call: Call): void {
  if (call.operation.response === 'hijack') tunnel(guard, exchange, call);
  else forward(guard, exchange, call);
}

export const tooMany = (guard: GuardState): boolean =>
  guard.metrics.streams > guard.config.upstream.maxConnections;

export const TOO_MANY = new Refusal(503, 'upstream-busy', 'too many calls at once (upstream.maxConnections)');

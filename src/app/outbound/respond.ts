import type { Engine } from '../../upstream/engine.js';
import { requestEngine } from '../../upstream/request-engine.js';

/** What is done with a container that tried to reach something listed. */
export type Response = 'pause' | 'stop' | 'disconnect';

/** Seconds that a container has to end by itself. */
const GRACE_SECONDS = 5;

/**
 * Acts on a container through the engine.
 *
 * @returns what was done, in words; a container that is gone or already paused or stopped is fine.
 * @throws Error with the engine's reason.
 */
export async function respond(engine: Engine, response: Response, container: string): Promise<string> {
  switch (response) {
    case 'pause':
      return act(engine, `/containers/${container}/pause`, undefined, 'paused');
    case 'stop':
      return act(engine, `/containers/${container}/stop?t=${GRACE_SECONDS}`, undefined, 'stopped');
    case 'disconnect':
      return disconnect(engine, container);
  }
}

/** From all its networks, since it is not known which of them leads out. */
async function disconnect(engine: Engine, container: string): Promise<string> {
  const { status, body } = await requestEngine(engine, 'GET', `/containers/${container}/json`);
  if (status === 404) return 'gone';
  const networks = (
    body as { NetworkSettings?: { Networks?: Record<string, { NetworkID?: string }> } } | null
  )?.NetworkSettings?.Networks;
  if (status !== 200 || networks === undefined) throw new Error(reason(status, body));
  const names = Object.keys(networks);
  for (const name of names) {
    const network = networks[name]?.NetworkID ?? '';
    const id = network === '' ? encodeURIComponent(name) : network;
    await act(engine, `/networks/${id}/disconnect`, { Container: container, Force: true }, 'disconnected');
  }
  return names.length === 0 ? 'had no network' : `disconnected from ${names.join(', ')}`;
}

async function act(engine: Engine, target: string, body: object | undefined, done: string): Promise<string> {
  const answer = await requestEngine(engine, 'POST', target, {
    timeout: (GRACE_SECONDS + 10) * 1000,
    ...(body === undefined ? {} : { body }),
  });
  if (answer.status < 300) return done;
  if (answer.status === 304) return `was already ${done}`;
  if (answer.status === 404) return 'gone';
  // moby daemon/pause.go: a container that is paused, or does not run any more.
  if (answer.status === 409) return `left as it was: ${reason(answer.status, answer.body)}`;
  throw new Error(reason(answer.status, answer.body));
}

function reason(status: number, body: unknown): string {
  const message = (body as { message?: unknown } | null)?.message;
  return typeof message === 'string' ? message : `the engine answered with status ${status}`;
}

import { bufferBody } from '../capture/buffer-body.js';
import type { HeadReading } from '../docker/read.js';
import type { CallSnapshot } from './admit.js';
import type { Guard } from './guard.js';
import type { Incoming, Progress } from './incoming.js';

/**
 * Reads a body that is judged into memory, whole and bounded. The budget gets its bytes back when the call is over.
 *
 * @throws Refusal 400, 408, 413, 503
 */
export async function capture(
  guard: Guard,
  { body }: Incoming,
  head: HeadReading,
  { quota }: CallSnapshot,
  progress: Progress,
): Promise<Buffer> {
  const limits = { bytes: head.bufferLimit, timeout: guard.limits.bodyTimeout };
  // What came together with the head is parsed after this: small bodies are all there when the turn ends.
  await guard.turn.end();
  const announced = head.framing.kind === 'length' ? head.framing.length : -1;
  const bytes =
    body.takeWhole(limits, guard.budget) ??
    (await bufferBody(body.open(head.framing), announced, limits, guard.budget));
  progress.buffered = progress.bytesIn = bytes.length;
  quota?.flow?.(bytes.length, () => {});
  return bytes;
}

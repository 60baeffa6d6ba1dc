import type { EngineAnswer } from '../docker/engine-answer.js';
import type { Engine } from './engine.js';

/** Longest answer that is read: the list of ten thousand containers fits. */
const MAX_ANSWER_BYTES = 64 * 2 ** 20;

/**
 * The guard's own request to the engine, not a client's call: it is not subject to policy.
 *
 * @param timeout milliseconds, for the head and between two pieces of the body.
 * @throws Error (readable) when the engine does not answer, or answers with something that is not JSON.
 */
export function requestEngine(
  engine: Engine,
  method: 'GET' | 'POST',
  target: string,
  { body, timeout = 10_000 }: { readonly body?: object; readonly timeout?: number } = {},
): Promise<EngineAnswer> {
  return new Promise((resolve, reject) => {
    let status = 0;
    let size = 0;
    const pieces: Buffer[] = [];
    const abort = engine.dispatch(
      {
        method,
        target,
        // Distinguishes the guard's own requests from clients' calls in the engine's log.
        headers: [
          ...['Host', 'docker', 'User-Agent', 'breakwater'],
          ...(body === undefined ? [] : ['Content-Type', 'application/json']),
        ],
        body: body === undefined ? undefined : JSON.stringify(body),
        // A POST without a body says so.
        length: method === 'POST' ? 0 : undefined,
        upgrade: '',
        timeout,
      },
      {
        onHeaders: (code) => void (status = code),
        onData(piece) {
          pieces.push(piece);
          size += piece.length;
          if (size <= MAX_ANSWER_BYTES) return true;
          abort();
          reject(
            new Error(`the engine's answer to ${method} ${target} is larger than ${MAX_ANSWER_BYTES} bytes`),
          );
          return false;
        },
        onComplete() {
          const body = readJson(Buffer.concat(pieces).toString());
          if (body !== undefined) resolve({ status, body });
          else reject(new Error(`the engine's answer to ${method} ${target} (status ${status}) is not JSON`));
        },
        onError: reject,
      },
    );
  });
}

/** Null for nothing, undefined for what is no JSON. */
function readJson(text: string): unknown {
  try {
    return text === '' ? null : (JSON.parse(text) as unknown);
  } catch {
    return undefined;
  }
}

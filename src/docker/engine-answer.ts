/** What the engine answered: the status, and the body where it is JSON (null where there is none). */
export interface EngineAnswer {
  readonly status: number;
  readonly body: unknown;
}

/**
 * Sends a request of the guard's own to the engine: not a client's call, so policy has no part in it. Rejects with a
 * readable Error when the engine does not answer, or answers with something that is not JSON.
 *
 * @param options `timeout`: milliseconds, for the head and between two pieces of the body.
 */
export type RequestEngine = (
  method: 'GET' | 'POST',
  target: string,
  options?: { readonly body?: object; readonly timeout?: number },
) => Promise<EngineAnswer>;

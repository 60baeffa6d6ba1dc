import { LRUCache } from 'lru-cache';
import { atMost } from '../../base/bounded.js';
import type { Call } from '../../docker/call.js';
import { openLines, readLines, rewriteLines } from '../../store/lines.js';
import { scanAnswer } from '../../docker/answers/scan.js';

/** The call that a container came from. */
export interface Creator {
  /** Call id, the same as in the call's own audit lines. */
  readonly call: string;
  readonly operation: string;
  readonly sources: readonly string[];
  /** Address of the client; `""` on a unix socket. */
  readonly client: string;
}

/** Which call made which container, read off the engine's answers. It survives a restart of the guard. */
export interface Creators {
  /** @param container its id, or the first 12 digits of it. */
  of(container: string): Creator | undefined;
  /** A listener for the pieces of the engine's answer to this call; undefined for calls that make no container. */
  watch(call: Call, sources: readonly string[]): ((piece: Buffer) => void) | undefined;
  close(): void;
}

const CONTAINERS = 65_536;
/** Containers are identified by this many digits of their id; builds print no more. */
const DIGITS = 12;

/** More than the longest text that names a container, so that none is lost between two pieces. */
const OVERLAP = 128;

/**
 * @param file where it is kept, one JSON line a container; it is written anew at the start when it has grown.
 * @param warn called once when it cannot be written: the history then ends with the process.
 * @throws Error when the file cannot be opened.
 */
export function openCreators(file: string, warn: (message: string) => void): Creators {
  const lines = readLines(file, readCreator);
  const creators = new LRUCache<string, Creator>(atMost(CONTAINERS));
  for (const { container, ...creator } of lines) creators.set(container, creator);
  if (lines.length > 2 * CONTAINERS) {
    const now = [...creators.entries()].reverse();
    rewriteLines(
      file,
      now.map(([container, creator]) => ({ container, ...creator })),
    );
  }
  const kept = openLines(file, (why) => warn(`who created which container is not kept: ${why}`));

  const learn = (container: string, creator: Creator): void => {
    // INVARIANT: the first one stays. A later build may print the id of another client's container.
    if (creators.has(container)) return;
    creators.set(container, creator);
    kept.append({ container, ...creator });
  };

  return {
    of: (container) => creators.get(container.slice(0, DIGITS)),
    watch(call, sources) {
      const { id, operation, client } = call;
      const creator = { call: id, operation: operation.id, sources, client: client.address };
      return scanAnswer(call, 'container', OVERLAP, ([container = '']) =>
        learn(container.slice(0, DIGITS), creator),
      );
    },
    close: () => kept.close(),
  };
}

function readCreator({
  container,
  call,
  operation,
  sources,
  client,
}: Readonly<Record<string, unknown>>): ({ readonly container: string } & Creator) | undefined {
  const texts = [container, call, operation, client].every((text) => typeof text === 'string');
  if (!texts || !Array.isArray(sources)) return undefined;
  return { container, call, operation, sources: sources.map(String), client } as never;
}

import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Config } from '../config/config.js';
import { makeStateDirectory } from '../feeds/copy.js';
import { holdDirectory } from '../store/lock.js';
import { makeNamedDirectory } from '../store/named-files.js';

/**
 * Makes the directories in which a guard keeps what it must not forget, and holds them: two guards that write the same
 * files would destroy each other's state.
 *
 * @returns the function that lets them go.
 * @throws Error that names the key of the configuration, when another guard holds one or it cannot be made.
 */
export async function holdState(config: Config, warn: (message: string) => void): Promise<() => void> {
  const held: (() => void)[] = [];
  const release = (): void => {
    for (const letGo of held.splice(0)) letGo();
  };
  try {
    // Two keys may name one directory.
    for (const [directory, key] of new Map(await directoriesOf(config))) {
      try {
        held.push(await holdDirectory(directory));
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        if (code === 'EBUSY')
          throw new Error(
            `${key} ${directory} is in use by another guard; two guards need a directory each`,
            { cause: error },
          );
        warn(`${key} ${directory} cannot be locked against another guard: ${message}`);
      }
    }
  } catch (error) {
    release();
    throw error;
  }
  return release;
}

/**
 * Not the audit journal: it has a lock of its own, which keeps nothing open. A disk that has become read-only is mounted anew
 * only when nothing on it is.
 */
async function directoriesOf({ feeds, ownership, egress }: Config): Promise<[string, string][]> {
  const found: [string, string][] = [];
  if (feeds.ownsState && (feeds.sources.length > 0 || existsSync(feeds.state))) {
    // Without sources an index of other times is taken out of force.
    if (feeds.sources.length > 0) await makeStateDirectory(feeds.state);
    found.push([feeds.state, 'feeds.state']);
  }
  const make = (directory: string, key: string, mode: number): void => {
    makeNamedDirectory(key, directory, mode);
    found.push([resolve(directory), key]);
  };
  if (ownership !== null) make(ownership.state, 'ownership.state', 0o700);
  // The outbound process writes there as well.
  if (egress !== null) make(egress.attempts.directory, 'egress.attempts.directory', 0o770);
  return found;
}

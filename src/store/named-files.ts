import { mkdirSync, readFileSync } from 'node:fs';

/**
 * Reads a file that the configuration or an option names.
 *
 * @param name what named it, for the message: a key of the config file or an option.
 * @throws Error with both, and the system's reason.
 */
export function readNamedFile(name: string, path: string): Buffer {
  return named(name, 'read', () => readFileSync(path));
}

/**
 * Makes a directory that the configuration names, unless it is there.
 *
 * @param name what named it, for the message: a key of the config file.
 * @throws Error with both, and the system's reason.
 */
export function makeNamedDirectory(name: string, path: string, mode: number): void {
  named(name, 'made', () => mkdirSync(path, { recursive: true, mode }));
}

/** Messages of the system name the path, and say nothing of why it was wanted. */
function named<T>(name: string, what: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw new Error(`${name} cannot be ${what}: ${(error as Error).message}`, { cause: error });
  }
}

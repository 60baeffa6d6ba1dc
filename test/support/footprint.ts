import { Session } from 'node:inspector';

/** What one call went through: files of `src/` by name, with the functions of each that were entered and how often. */
export type Footprint = ReadonlyMap<string, readonly Entered[]>;

export interface Entered {
  readonly name: string;
  readonly count: number;
}

interface Coverage {
  readonly result: readonly {
    readonly url: string;
    readonly functions: readonly {
      readonly functionName: string;
      readonly ranges: readonly { readonly count: number; readonly startOffset: number }[];
    }[];
  }[];
}

/** Our own code, compiled. The engine for trying out stands in for dockerd, which is no part of a call either. */
const SOURCE = /\/dist\/src\/(?!trial-engine\/)(.+)\.js$/;

/** V8's name for the fields of a class, which it sets up as a function of their own; nobody wrote one. */
const FIELDS = '<instance_members_initializer>';

/**
 * Counts what V8 enters, with its precise coverage: every function of `src/` in this process that runs between `start` and
 * `stop`, closures included. Code of the tests, of packages and of Node is left out.
 */
export class FootprintCounter {
  readonly #session = new Session();

  constructor() {
    this.#session.connect();
    this.#post('Profiler.enable');
    this.#post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
  }

  start(): void {
    this.#post('Profiler.takePreciseCoverage');
  }

  stop(): Footprint {
    const { result } = this.#post('Profiler.takePreciseCoverage') as Coverage;
    const found = new Map<string, Entered[]>();
    for (const { url, functions } of result) {
      const file = SOURCE.exec(url)?.[1];
      if (file === undefined) continue;
      const names = functions
        .filter(
          ({ functionName, ranges: [range] }) =>
            range !== undefined && range.count > 0 && functionName !== FIELDS,
        )
        .map(({ functionName, ranges: [range] }) => ({
          name: functionName || `(anonymous at ${range!.startOffset})`,
          count: range!.count,
        }));
      if (names.length > 0) found.set(`src/${file}.ts`, names);
    }
    return found;
  }

  close(): void {
    this.#session.disconnect();
  }

  /** The session is in this process: its answers come at once. */
  #post(method: string, parameters: object = {}): unknown {
    let answer: unknown;
    this.#session.post(method, parameters, (error, result) => {
      if (error !== null) throw new Error(`${method}: ${error.message}`);
      answer = result;
    });
    return answer;
  }
}

export const functionsOf = (footprint: Footprint): number =>
  [...footprint.values()].reduce((sum, names) => sum + names.length, 0);

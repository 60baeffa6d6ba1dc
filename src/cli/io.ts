/** Where a command prints. */
export interface Io {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
}

/** A command: its arguments after the name; resolves to the exit code (0 fine, 1 the thing checked is bad, 2 usage). */
export type Command = (args: string[], io: Io) => Promise<number>;

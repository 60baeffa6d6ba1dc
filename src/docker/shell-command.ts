import type { Work } from '../base/work.js';

/** Stands in a word for a part whose value is not known from the text. */
export const UNKNOWN = '\uffff';

/** The value of a variable, undefined when it is not known. */
export type Variable = (name: string) => string | undefined;

/** How many characters may still be written; `left < 0` afterwards means the reading is not complete. */
export interface TextBudget {
  left: number;
  /** Pays for what is read, too; without any left, nothing more is written either. */
  readonly work: Work;
}

/** One simple command: `A=1 wget -q "$URL" > out`. */
export interface SimpleCommand {
  /** Leading `NAME=value` words. */
  readonly assignments: readonly string[];
  /** Quotes and escapes removed, variables substituted; UNKNOWN where a value is not known. */
  readonly words: readonly string[];
  /** Files, here-strings and descriptors that its input and output are redirected to. */
  readonly targets: readonly string[];
  /** Its output goes into the next command, a file, or a substitution: it may be run later. */
  readonly captured: boolean;
  /** It reads the output of the command before it. */
  readonly piped: boolean;
}

/** The report on one reading of one feed. */
export interface Run {
  /** Seconds since 1970: what counts as expired or not yet valid. */
  readonly now: number;
  /** Entries that could not be read. */
  rejected: number;
  /** Entries left out on purpose: offline, revoked, expired, not for detection, of a kind that is no indicator. */
  skipped: number;
  /** At most 20 texts, each with line or JSON pointer and the reason. */
  readonly problems: string[];
  /** Why the text as a whole must not be used: it is cut short, or lacks a column. Undefined while all is well. */
  failure: string | undefined;
}

/** Where an entry stands: the number of its line, or a JSON pointer. */
export type Where = number | string;

const PROBLEMS = 20;
const MAX_REJECTED = 50_000;
const SHOWN = 80;

export function startRun(now: number): Run {
  return { now, rejected: 0, skipped: 0, problems: [], failure: undefined };
}

/** Notes a problem that costs no entry. */
export function note(run: Run, where: Where, reason: string): void {
  if (run.problems.length < PROBLEMS) run.problems.push(`${place(where)}: ${reason}`);
}

/** Counts an entry that could not be read, and notes why. So many of them are no feed, and reading on would only cost time. */
export function reject(run: Run, where: Where, reason: string): void {
  run.rejected++;
  note(run, where, reason);
  if (run.rejected > MAX_REJECTED)
    fail(run, where, `over ${MAX_REJECTED} entries cannot be read; the last one: ${reason}`);
}

/** Gives up the whole text; the first reason stays. */
export function fail(run: Run, where: Where, reason: string): void {
  run.failure ??= `${place(where)}: ${reason}`;
}

function place(where: Where): string {
  return typeof where === 'number' ? `line ${where}` : `at ${show(where === '' ? '/' : where)}`;
}

/** Foreign text, short and without control characters, so that it cannot forge lines of a log. */
export function show(text: string): string {
  const short = text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
  return short.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '\ufffd');
}

/** Foreign text in quotes. */
export function quote(text: string): string {
  return `"${show(text)}"`;
}

import { reject, type Run } from './run.js';

/** Longest line, in UTF-16 units, that is read; a longer one is no entry of any list. */
const MAX_LINE = 64 * 1024;

export interface Line {
  readonly number: number;
  readonly text: string;
}

/** The lines of a text that hold anything but white space, trimmed. One that is too long is rejected; a failure ends them. */
export function* linesOf(text: string, run: Run): Generator<Line> {
  let number = 0;
  for (let at = 0; at < text.length && run.failure === undefined;) {
    const newline = text.indexOf('\n', at);
    const end = newline < 0 ? text.length : newline;
    number++;
    if (end - at > MAX_LINE) {
      reject(run, number, `the line has ${end - at} characters; at most ${MAX_LINE} are read`);
    } else {
      const line = text.slice(at, end).trim();
      if (line !== '') yield { number, text: line };
    }
    at = end + 1;
  }
}

/** A line of a list without its comment: from `#` or `;` on, at its start or after white space, or `//` at its start. */
export function withoutComment(line: string): string {
  if (line.startsWith('//')) return '';
  for (let at = 0; at < line.length; at++) {
    const code = line.charCodeAt(at);
    if ((code === 0x23 || code === 0x3b) && (at === 0 || isSpace(line.charCodeAt(at - 1)))) {
      return line.slice(0, at).trimEnd();
    }
  }
  return line;
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

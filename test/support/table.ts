/** Lays rows out in columns, for `t.comment`. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

/** `yes`, or what differs: `exit`, `stdout`, `stderr`, `hung`. */
export function sameWords(
  a: { readonly code: number; readonly stdout: string; readonly stderr: string; readonly timedOut: boolean },
  b: { readonly code: number; readonly stdout: string; readonly stderr: string; readonly timedOut: boolean },
): string {
  const words: string[] = [];
  if (a.timedOut !== b.timedOut) words.push('hung');
  if (a.code !== b.code) words.push('exit');
  if (a.stdout !== b.stdout) words.push('stdout');
  if (a.stderr !== b.stderr) words.push('stderr');
  return words.length === 0 ? 'yes' : `NO: ${words.join(', ')}`;
}

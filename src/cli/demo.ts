import { parseArgs } from 'node:util';
import { ATTACK_DOCKERFILE, replayAttack } from '../app/demo.js';
import type { AttackReport, AttackResult } from '../app/demo.js';
import { command } from './command.js';

const HELP = `breakwater demo: replay the build attack, first at a bare engine, then through the guard

Nothing is contacted, built or run: the engine is the built-in trial engine, the guard listens on loopback.

  --policy PATH     policy file or directory; may be given several times (default: policies/default.json)
  --json            print one JSON object instead of the table

Exit codes: 0 every step that must be stopped was, 1 one was not, 2 wrong usage or a bad policy.
`;

/**
 * `breakwater demo`: prints one line per step of the attack and a summary.
 * Resolves to 1 when a step that must be stopped (build, create, start) reached the engine or left something there.
 */
export const runDemo = command('demo', HELP, async (args, io) => {
  const { values } = parseArgs({
    args,
    options: {
      policy: { type: 'string', multiple: true },
      json: { type: 'boolean' },
    },
  });
  const report = await replayAttack(values.policy ?? []);
  const missed = report.results.filter((result) => result.mustStop && !result.stopped);
  const passed = missed.length === 0 && report.traces === 0 && report.unguardedWorks;
  if (values.json === true) io.stdout.write(`${JSON.stringify({ passed, ...report }, undefined, 2)}\n`);
  else io.stdout.write(`${intro(report)}\n${table(report.results)}\n${summary(report, missed)}\n`);
  return passed ? 0 : 1;
});

function intro(report: AttackReport): string {
  return (
    'The attack: an exposed Docker API is made to build and run this image. The base is benign, the name is random,\n' +
    'and no registry ever saw it:\n\n' +
    `${ATTACK_DOCKERFILE.replace(/^/gm, '    ').trimEnd()}\n\n` +
    `policy: ${report.policy.join(', ')}\n`
  );
}

function summary(report: AttackReport, missed: readonly AttackResult[]): string {
  if (!report.unguardedWorks)
    return 'FAILED: the attack did not work without the guard, so nothing was shown.';
  if (missed.length > 0) {
    const steps = missed.map(({ step, does }) => `${step} (${does})`).join(', ');
    return `FAILED: not stopped: step ${steps}. This policy lets the attack through.`;
  }
  if (report.traces !== 0) return `FAILED: the guarded run left ${report.traces} objects on the engine.`;
  const dangerous = report.results.filter((result) => result.mustStop).length;
  return (
    `Stopped: ${dangerous} of ${dangerous} steps that must be (build, create, start), nothing left on the engine. ` +
    `Without the guard all ${report.results.length} steps went through.`
  );
}

const HEADINGS = ['step', 'call', 'without the guard', 'verdict', 'expected', 'reason'] as const;
const REASON_WIDTH = 64;
const CALL_WIDTH = 46;

function table(results: readonly AttackResult[]): string {
  const rows = results.map((result) => [
    `${result.step}`,
    `${cut(result.call, CALL_WIDTH)}\n${result.does}`,
    result.unguarded < 300 ? `${result.unguarded} works` : `${result.unguarded} fails`,
    `${result.status} ${result.stopped ? 'denied' : result.verdict === 'deny' ? 'deny, only observed' : 'allowed'}`,
    result.mustStop ? 'denied' : 'any',
    wrap(result.verdict === 'allow' ? `by rule "${result.rule}"` : result.reason, REASON_WIDTH),
  ]);
  const cells = [[...HEADINGS], ...rows].map((row) => row.map((cell) => cell.split('\n')));
  const widths = HEADINGS.map((_, column) =>
    Math.max(...cells.map((row) => Math.max(...(row[column] ?? []).map((line) => line.length)))),
  );
  const lines: string[] = [];
  for (const row of cells) {
    const height = Math.max(...row.map((cell) => cell.length));
    for (let line = 0; line < height; line++) {
      lines.push(
        row
          .map((cell, column) => (cell[line] ?? '').padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd(),
      );
    }
    if (lines.length === 1) lines.push(widths.map((width) => '-'.repeat(width)).join('  '));
  }
  return `${lines.join('\n')}\n`;
}

function cut(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, width - 1)}…` : text;
}

/** Breaks at blanks; a word longer than the width has a line of its own. */
function wrap(text: string, width: number): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join('\n');
}

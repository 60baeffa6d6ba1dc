import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { readPolicyFiles } from '../config/policy-files.js';
import { formatProblem } from '../config/policy-store.js';
import { VOCABULARY } from '../policy/vocabulary.js';
import { compilePolicy } from '../policy/compile.js';
import { command, UsageError } from './command.js';

const HELP = `breakwater check PATH…: validate policy files

  PATH    a policy file, or a directory (its *.json files, but not *.schema.json).
          All paths together are one policy, as "breakwater run" takes them.

Prints one line per problem, FILE:POINTER: MESSAGE, or "ok: 3 files, 12 rules".
Exit codes: 0 the policy is fine, 1 it has problems, 2 wrong usage or no such file.
`;

/** `breakwater check PATH…`: problems go to stdout, they are what was asked for; usage errors to stderr. */
export const runCheck = command('check', HELP, async (args, io) => {
  const { positionals: paths } = parseArgs({ args, options: {}, allowPositionals: true });
  if (paths.length === 0) throw new UsageError('name at least one policy file or directory');
  // A name that stands for nothing is a slip of the command line; what is in a file is what was asked about.
  const missing = paths.filter((path) => !existsSync(path));
  if (missing.length > 0) throw new UsageError(`there is no ${missing.join(', ')}`);

  const { files, problems: unread } = await readPolicyFiles(paths);
  const compiled = compilePolicy(files, VOCABULARY);
  const problems = compiled.ok ? unread : [...unread, ...compiled.problems];
  if (!compiled.ok || problems.length > 0) {
    for (const problem of problems) io.stdout.write(`${formatProblem(problem)}\n`);
    return 1;
  }
  const count = (n: number, word: string): string => `${n} ${word}${n === 1 ? '' : 's'}`;
  io.stdout.write(`ok: ${count(compiled.policy.files, 'file')}, ${count(compiled.policy.rules, 'rule')}\n`);
  return 0;
});

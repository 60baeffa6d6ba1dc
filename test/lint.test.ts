import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

// The rooms of the architecture are held by lint alone, so this proves that each wall of .oxlintrc.json stands:
// small files in a copy of the layout, linted with the real configuration.

const root = path.resolve(fileURLToPath(new URL('../..', import.meta.url)));
const restricted = 'eslint(no-restricted-imports)';

interface Case {
  readonly file: string;
  readonly source: string;
  /** Rule code that must be reported for the file, or `''` when the file must be clean. */
  readonly expect: string;
}

const pure = ['base', 'docker', 'hazards', 'policy', 'intel'];
const io = ['capture', 'upstream', 'audit', 'feeds', 'egress', 'config', 'history', 'ownership'];
const rooms = [...pure, 'store', ...io, 'trial-engine', 'guard', 'app', 'cli'];
const allowed: Readonly<Record<string, readonly string[]>> = {
  base: [],
  docker: ['base'],
  intel: ['base'],
  hazards: ['base', 'docker', 'intel'],
  policy: ['base', 'docker', 'intel', 'hazards'],
  store: ['base'],
  ...Object.fromEntries([...io, 'trial-engine'].map((room) => [room, [...pure, 'store']])),
  guard: [...pure, 'store', ...io],
  app: [...pure, 'store', ...io, 'trial-engine', 'guard'],
  cli: [...pure, 'store', 'app', 'config'],
};

const cases: Case[] = [];
for (const from of rooms) {
  for (const to of rooms) {
    if (from === to) continue;
    const expect = allowed[from]?.includes(to) === true ? '' : restricted;
    cases.push({
      file: `src/${from}/imports-${to}.ts`,
      source: `import { room } from '../${to}/room.js';\nexport const x = room;\n`,
      expect,
    });
    cases.push({
      file: `src/${from}/deep/imports-${to}.ts`,
      source: `import type { Room } from '../../${to}/room.js';\nexport type X = Room;\n`,
      expect,
    });
  }
  cases.push({ file: `src/${from}/own.ts`, source: `export { room } from './room.js';\n`, expect: '' });
  cases.push({ file: `src/${from}/deep/own.ts`, source: `export { room } from '../room.js';\n`, expect: '' });
}
for (const from of pure) {
  for (const [name, source] of Object.entries({
    builtin: `import fs from 'node:fs';\nexport default fs;\n`,
    'builtin-path': `import { readFile } from 'node:fs/promises';\nexport default readFile;\n`,
    undici: `import { Pool } from 'undici';\nexport default Pool;\n`,
    pino: `import pino from 'pino';\nexport default pino;\n`,
    scoped: `import x from '@some/package';\nexport default x;\n`,
    dynamic: `export const fs = await import('node:fs');\n`,
    reexport: `export * from 'node:net';\n`,
    type: `import type { Socket } from 'node:net';\nexport type S = Socket;\n`,
  })) {
    cases.push({ file: `src/${from}/package-${name}.ts`, source, expect: restricted });
  }
  for (const global of ['process', 'fetch', 'setTimeout', 'performance', 'console']) {
    cases.push({
      file: `src/${from}/global-${global}.ts`,
      source: `export const x = ${global};\n`,
      expect: 'eslint(no-restricted-globals)',
    });
  }
  for (const property of ['Date.now', 'Math.random']) {
    cases.push({
      file: `src/${from}/property-${property}.ts`,
      source: `export const x = ${property}();\n`,
      expect: 'eslint(no-restricted-properties)',
    });
  }
}
cases.push(
  { file: 'src/policy/zod.ts', source: `import { z } from 'zod';\nexport default z;\n`, expect: '' },
  { file: 'src/docker/zod.ts', source: `import { z } from 'zod';\nexport default z;\n`, expect: restricted },
  {
    file: 'src/upstream/undici.ts',
    source: `import { Pool } from 'undici';\nexport default Pool;\n`,
    expect: '',
  },
  {
    file: 'src/guard/ring-a.ts',
    source: `import { b } from './ring-b.js';\nexport const a = (): unknown => b;\n`,
    expect: 'import(no-cycle)',
  },
  {
    file: 'src/guard/ring-b.ts',
    source: `import { a } from './ring-a.js';\nexport const b = (): unknown => a;\n`,
    expect: 'import(no-cycle)',
  },
  {
    file: 'src/history/types-a.ts',
    source: `import type { B } from './types-b.js';\nexport interface A {\n  b: B;\n}\n`,
    expect: 'import(no-cycle)',
  },
  {
    file: 'src/history/types-b.ts',
    source: `import type { A } from './types-a.js';\nexport interface B {\n  a: A;\n}\n`,
    expect: 'import(no-cycle)',
  },
  {
    file: 'src/guard/floating.ts',
    source: `const f = async (): Promise<void> => {};\nf();\n`,
    expect: 'typescript(no-floating-promises)',
  },
  {
    file: 'src/guard/misused.ts',
    source: `[1].forEach(async () => {});\n`,
    expect: 'typescript(no-misused-promises)',
  },
  { file: 'src/guard/any.ts', source: `export const x: any = 1;\n`, expect: 'typescript(no-explicit-any)' },
);

t.test('lint holds the rooms', async (t) => {
  const dir = await mkdtemp(path.join(tmpdir(), 'breakwater-lint-'));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  await copyFile(path.join(root, '.oxlintrc.json'), path.join(dir, '.oxlintrc.json'));
  await copyFile(path.join(root, 'tsconfig.json'), path.join(dir, 'tsconfig.json'));
  await symlink(path.join(root, 'node_modules'), path.join(dir, 'node_modules'));
  for (const room of rooms) {
    await mkdir(path.join(dir, 'src', room, 'deep'), { recursive: true });
    await writeFile(
      path.join(dir, 'src', room, 'room.ts'),
      'export const room = 1;\nexport type Room = number;\n',
    );
  }
  for (const c of cases) await writeFile(path.join(dir, c.file), c.source);

  const found = new Map<string, Set<string>>();
  for (const d of await lint(dir)) {
    const file = d.filename.replaceAll('\\', '/');
    found.set(file, (found.get(file) ?? new Set()).add(d.code));
  }
  for (const c of cases) {
    const codes = [...(found.get(c.file) ?? [])];
    if (c.expect === '') t.same(codes, [], `${c.file} is accepted`);
    else t.ok(codes.includes(c.expect), `${c.file} is refused by ${c.expect}`, { found: codes });
  }
});

interface Diagnostic {
  readonly code: string;
  readonly filename: string;
}

/** Runs the project's oxlint over `dir/src` and returns what it reports. */
async function lint(dir: string): Promise<readonly Diagnostic[]> {
  const oxlint = path.join(dir, 'node_modules', '.bin', 'oxlint');
  const output = await new Promise<string>((resolve, reject) => {
    execFile(
      // tap puts loaders into every child's NODE_OPTIONS; oxlint's launcher does not start under them.
      'env',
      ['-u', 'NODE_OPTIONS', oxlint, '--type-aware', '--format', 'json', 'src'],
      { cwd: dir, maxBuffer: 64 << 20, timeout: 120_000 },
      (error, stdout, stderr) => {
        // Exit code 1 means that it found something, which is what this test is about.
        if (error !== null && stdout === '')
          reject(new Error(`oxlint did not run: ${stderr || error.message}`));
        else resolve(stdout);
      },
    );
  });
  return (JSON.parse(output) as { diagnostics: Diagnostic[] }).diagnostics;
}

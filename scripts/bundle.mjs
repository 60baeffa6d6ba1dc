// `npm run bundle`: src → dist/bundle, what the package and the image run. One file for each command's first use and one for
// every part that only some configurations need (receivers of the audit trail, metrics, outbound blocking …), which is loaded
// when it is used. All packages are inside; their licences go into LICENSES.txt.
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
// As deep in the package as a room of dist/src: from both, `../../../` is the package, with its policies.
const out = join(root, 'dist/bundle/bin');
process.chdir(root);

const result = await build({
  entryPoints: { breakwater: 'src/cli/main.ts', ...programs('src') },
  outdir: out,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  // Names are kept: a stack trace in a bug report must say something.
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'none',
  metafile: true,
  write: false,
});

rmSync(dirname(out), { recursive: true, force: true });
mkdirSync(out, { recursive: true });
for (const file of result.outputFiles) writeFileSync(file.path, withoutImports(file.text));
chmodSync(join(out, 'breakwater.js'), 0o755);
writeFileSync(join(out, '../LICENSES.txt'), licences(Object.keys(result.metafile.inputs)));
const size = result.outputFiles.reduce((sum, { contents }) => sum + contents.length, 0);
console.log(`dist/bundle: ${result.outputFiles.length} files, ${(size / 1e6).toFixed(1)} MB`);

/**
 * What sources start as a process or a thread of its own, `new URL('./NAME.js', import.meta.url)`: each stays a file beside
 * the others.
 */
function programs(directory) {
  const found = {};
  for (const entry of readdirSync(directory, { recursive: true })) {
    if (!entry.endsWith('.ts')) continue;
    const text = readFileSync(join(directory, entry), 'utf8');
    for (const [, name] of text.matchAll(/new URL\('\.\/([\w-]+)\.js', import\.meta\.url\)/g)) {
      if (name in found)
        throw new Error(`${entry}: a program ${name} is there already; the bundle has one folder`);
      found[name] = join(directory, dirname(entry), `${name}.ts`);
    }
  }
  return found;
}

/**
 * Node's own modules as Node hands them to CommonJS. An `import` of one reads every export, and with that loads parts that
 * nobody asked for: with node:http on Node 22 and newer, the whole of fetch and WebSocket, 5 MB.
 */
function withoutImports(text) {
  const names = builtinModules.filter((name) => !name.includes(':')).join('|');
  const statement = new RegExp(
    String.raw`(?<![\w$.])import(?:\s*(\*as [\w$]+|[\w$]+))?,?(?:\s*(\{[^}]*\}))?\s*from\s*"(?:node:)?(${names})";`,
    'g',
  );
  const constants = [];
  const rest = text.replace(statement, (_, whole, named, module) => {
    const it = `process.getBuiltinModule("node:${module}")`;
    if (whole !== undefined) constants.push(`const ${whole.replace('*as ', '')}=${it};`);
    if (named !== undefined) constants.push(`const ${named.replaceAll(' as ', ':')}=${it};`);
    return '';
  });
  const left = /\bfrom\s*"(node:[^"]*)"/.exec(rest);
  if (left !== null) throw new Error(`an import of ${left[1]} was not recognised`);
  const [first = ''] = /^#!.*\n/.exec(rest) ?? [];
  // Packages in CommonJS: all that they still require is Node's own.
  return `${first}const require=process.getBuiltinModule;${constants.join('')}${rest.slice(first.length)}`;
}

/** @throws Error when a package that is inside comes without a licence. */
function licences(inputs) {
  const packages = new Set(
    inputs.flatMap((path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []),
  );
  const texts = [...packages].sort().map((directory) => {
    const { name, version, license, author } = JSON.parse(
      readFileSync(join(directory, 'package.json'), 'utf8'),
    );
    const file = readdirSync(directory).find((one) => /^licen[cs]e/i.test(one));
    const by = typeof author === 'object' ? author.name : (author ?? '');
    if (file === undefined && license === undefined) throw new Error(`${name}: no licence`);
    const text = file === undefined ? `${license}\n${by}\n` : readFileSync(join(directory, file), 'utf8');
    return `${name} ${version} (${license})\n\n${text.trim()}\n`;
  });
  return `Breakwater contains these packages.\n\n${texts.join(`\n${'-'.repeat(80)}\n\n`)}`;
}

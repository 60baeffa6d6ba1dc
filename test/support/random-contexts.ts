import fc from 'fast-check';
import { dockerfile, type ContextCase } from './context-cases.js';
import { dir, file, hardlink, longName, pax, symlink, tar, type TarEntry } from './tar.js';

const name = fc.constantFrom(
  ...[
    'Dockerfile',
    'Dockerfile',
    './Dockerfile',
    '/Dockerfile',
    'd/Dockerfile',
    'd/../Dockerfile',
    '../Dockerfile',
  ],
  ...['d', './d/', 'e', 'e', 'd/e', 'd//e', 'e/Dockerfile', 'dockerfile', '.', 'd/.', '//e', '..'],
);
const target = fc.constantFrom('Dockerfile', './e', '/e', 'e', 'd', '.', '/', '..', '../e', 'd/e', 'nowhere');
const kind = fc.constantFrom('file', 'file', 'file', 'dir', 'symlink', 'hardlink', 'pax', 'long', 'prefix');
const asked = fc.constantFrom(
  undefined,
  undefined,
  'Dockerfile',
  './e',
  'd/Dockerfile',
  'e',
  '/d/e',
  'd/../e',
);

function pieces(kind: string, name: string, target: string, label: string): TarEntry[] {
  const data = dockerfile(label);
  switch (kind) {
    case 'dir':
      return [dir(name)];
    case 'symlink':
      return [symlink(name, target)];
    case 'hardlink':
      return [hardlink(name, target)];
    case 'pax':
      return [pax({ path: name }), file('x', data)];
    case 'long':
      return [longName(name), file('x', data, { magic: 'gnu' })];
    case 'prefix':
      return [file(name, data, { prefix: 'd' })];
    default:
      return [file(name, data)];
  }
}

const context = fc
  .tuple(fc.array(fc.tuple(kind, name, target), { minLength: 1, maxLength: 5 }), asked)
  .map(([entries, dockerfile]): ContextCase => {
    const body = tar(
      ...entries.flatMap(([kind, name, target], at) => pieces(kind, name, target, 'ABCDE'[at]!)),
    );
    return {
      name: `random ${JSON.stringify([entries, dockerfile])}`,
      body,
      winner: '',
      ...(dockerfile !== undefined && { dockerfile }),
    };
  });

/** Small contexts with files, directories and links of few names, so that they meet each other. */
export function randomContexts(seed: number, count: number): ContextCase[] {
  return fc.sample(context, { seed, numRuns: count });
}

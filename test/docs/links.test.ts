import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

// Every relative link of every page leads to a file, and to a heading that is there.

const root = fileURLToPath(new URL('../../../', import.meta.url));
const SKIPPED = new Set(['node_modules', 'dist', '.git', '.tap']);

function filesBelow(folder: string, ending: RegExp): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : filesBelow(path, ending);
    return ending.test(entry.name) ? [path] : [];
  });
}

const pages = filesBelow(root, /\.md$/);

/** Without what looks like a link in an example. */
const prose = (text: string): string =>
  text
    .replace(/^```[^]*?^```$/gm, '')
    .replace(/^ {4}.*$/gm, '')
    .replace(/`[^`\n]*`/g, 'code');

/** The anchors that GitHub makes of the headings of a page. */
function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  const withoutCode = text.replace(/^```[^]*?^```$/gm, '');
  for (const [, heading = ''] of withoutCode.matchAll(/^#{1,6} (.+)$/gm)) {
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1');
    const slug = plain
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, '')
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let n = 1; anchors.has(anchor); n++) anchor = `${slug}-${n}`;
    anchors.add(anchor);
  }
  return anchors;
}

function targetsOf(text: string): string[] {
  const inline = [...prose(text).matchAll(/\]\(<?([^)>\s]+)>?(?: "[^"]*")?\)/g)];
  const reference = [...prose(text).matchAll(/^\[[^\]]+\]: +(\S+)$/gm)];
  return [...inline, ...reference].map(([, target = '']) => target);
}

await t.test('every link resolves', async (t) => {
  t.ok(pages.length > 30, `${pages.length} pages`);
  for (const page of pages) {
    for (const target of targetsOf(readFileSync(page, 'utf8'))) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path = '', anchor] = target.split('#', 2);
      const file = path === '' ? page : resolve(dirname(page), path);
      const name = `${relative(root, page)}: ${target}`;
      if (!existsSync(file) || relative(root, file).startsWith('..')) {
        t.fail(name);
      } else if (anchor !== undefined) {
        t.ok(statSync(file).isFile() && anchorsOf(readFileSync(file, 'utf8')).has(anchor), name);
      }
    }
  }
});

await t.test('every page of docs/ is linked from another one', async (t) => {
  const linked = new Set(
    pages.flatMap((page) =>
      targetsOf(readFileSync(page, 'utf8'))
        .map((target) => resolve(dirname(page), target.split('#', 1)[0]!))
        .filter((file) => file !== page),
    ),
  );
  for (const page of pages.filter((one) => one.startsWith(join(root, 'docs')))) {
    t.ok(linked.has(page), relative(root, page));
  }
});

await t.test('pages that messages, comments and units name are there', async (t) => {
  const folders = ['src', 'deploy', 'policies', 'bench'].map((name) => join(root, name));
  const files = folders.flatMap((folder) => filesBelow(folder, /\.(ts|json|ya?ml|service|conf|md)$/));
  let named = 0;
  for (const file of files) {
    for (const [path] of readFileSync(file, 'utf8').matchAll(/\bdocs\/[\w./-]+\.md/g)) {
      // A page of moby's repository.
      if (path.startsWith('docs/api/')) continue;
      named++;
      t.ok(existsSync(join(root, path)), `${relative(root, file)}: ${path}`);
    }
  }
  t.ok(named > 5, `${named} names`);
});

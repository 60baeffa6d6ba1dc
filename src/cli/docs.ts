import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { referencePages } from '../app/docs/pages.js';

// `npm run docs`: writes the generated parts of docs/reference anew, in the checkout it is started in.
const main = fileURLToPath(new URL('main.js', import.meta.url));
const pages = await referencePages({
  read: (page) => readFileSync(`docs/reference/${page}`, 'utf8'),
  help: (args) => execFileSync(process.execPath, [main, ...args], { encoding: 'utf8' }),
});
for (const [page, text] of pages) writeFileSync(`docs/reference/${page}`, text);

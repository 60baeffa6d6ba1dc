import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { run, type Outcome } from '../support/command.js';

const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const egress = (...args: string[]): Promise<Outcome> => run(process.execPath, [CLI, 'egress', ...args]);

t.test('usage: one line, exit code 2; nothing is touched', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'bw-cli-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const file = (name: string, value: object): string => {
    const path = join(dir, name);
    writeFileSync(path, JSON.stringify(value));
    return path;
  };
  const empty = file('empty.json', {});
  const bad = file('bad.json', { egress: { mode: 'blok' } });
  const cases: [string[], RegExp][] = [
    [[], /say what to do: run, apply, show or remove/],
    [['start'], /there is no "start"/],
    [['toString'], /there is no "toString"/],
    [['show', 'all'], /"all" is too much/],
    [['apply', '--json'], /--json goes with show/],
    [['show', '--nonsense'], /nonsense/],
    [['show', '--config', join(dir, 'none.json')], /none.json: cannot be read/],
    [['show', '--config', empty], /empty.json has no section "egress"/],
    [['remove', '--config', bad], /bad.json\/egress\/mode: found "blok"/],
  ];
  const outcomes = await Promise.all(cases.map(([args]) => egress(...args)));
  outcomes.forEach(({ code, stdout, stderr }, index) => {
    const [args, message] = cases[index]!;
    t.match({ code, stdout }, { code: 2, stdout: '' }, args.join(' '));
    t.match(stderr, message);
    t.equal(stderr.trim().split('\n').length, 1, 'one line');
  });
  t.match(await egress('--help'), { code: 0, stdout: /run\|apply\|show\|remove/ });
  const config = file('good.json', { feeds: { state: dir }, egress: {} });
  t.match(await egress('apply', '--config', config), { code: 1, stderr: /index.bin: is not there/ });
});

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { run } from '../support/command.js';

// What somebody reads whose guard does not start: what was wrong, where, and that it is over.

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const directory = t.testdir({
  'policy.json': JSON.stringify({ sources: {}, rules: [] }),
  'typo.json': JSON.stringify({
    sources: {},
    rules: [
      { id: 'a', sources: ['*'], operations: ['@run'], permit: ['bimd:/x'] },
      { id: 'b', sources: ['*'], operations: ['ContainerLst'] },
    ],
  }),
  'no.pem': 'no certificate',
});
const file = (name: string): string => join(directory, name);

/** Runs one command that must fail: all that it prints, and how it ends. */
async function fails(...args: string[]): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await run(process.execPath, [main, ...args], {
    cwd: directory,
    timeout: 60_000,
  });
  return { code, text: stdout + stderr };
}

/** `breakwater run` with this configuration. */
async function start(config: object): Promise<{ code: number; text: string }> {
  const path = file('config.json');
  const listen = [{ url: `unix://${file('guard.sock')}` }];
  writeFileSync(path, JSON.stringify({ listen, policy: ['policy.json'], admin: null, ...config }));
  return fails('run', '--config', path);
}

await t.test('a policy that is not there, or is none, is wrong usage', async (t) => {
  for (const command of [
    ['check'],
    ['demo', '--policy'],
    ['run', '--listen', 'tcp://127.0.0.1:0', '--policy'],
  ]) {
    const { code, text } = await fails(...command, file('none.json'));
    t.equal(code, 2, text);
    t.match(text, /^breakwater \w+: .*none\.json/, text);
  }
  for (const command of ['demo', 'run']) {
    const { code, text } = await fails(command, '--policy', file('typo.json'));
    t.equal(code, 2, text);
    t.match(text, `breakwater ${command}: ${file('typo.json')}:/rules/0/permit/0: unknown hazard "bimd"`);
    t.match(text, /\/rules\/1\/operations\/0: .*Did you mean "ContainerList"/, 'every problem');
  }
  const checked = await fails('check', file('typo.json'));
  t.equal(checked.code, 1, 'what was asked about is bad');
});

await t.test('a log level that is none', async (t) => {
  t.match(await fails('run', '--log-level', 'verbose'), {
    code: 2,
    text: /--log-level "verbose" is none; it is one of .*info.*; try breakwater run --help/,
  });
});

await t.test('a group that is not there: the guard ends, and leaves no socket', async (t) => {
  const found = await start({ listen: [{ url: `unix://${file('group.sock')}`, group: 'no-such-group' }] });
  t.match(found, { code: 1, text: /cannot listen on unix:.*group\.sock: there is no group "no-such-group"/ });
});

await t.test('certificates of a listener: the key, the file and the reason', async (t) => {
  for (const name of ['a', 'b'])
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
        ...['-subj', `/CN=${name}`, '-keyout', file(`${name}-key.pem`), '-out', file(`${name}.pem`)],
      ],
      { stdio: 'ignore' },
    );
  const withTls = (tls: object): ReturnType<typeof start> =>
    start({ listen: [{ name: 'lan', url: 'tls://127.0.0.1:0', tls }] });
  for (const [tls, message] of [
    [{ cert: 'none.pem', key: 'a-key.pem' }, /listener lan: tls\.cert cannot be read: ENOENT.*none\.pem/],
    [{ cert: 'no.pem', key: 'a-key.pem' }, /listener lan: tls\.cert, .*no\.pem, cannot be used: /],
    [{ cert: 'a.pem', key: 'no.pem' }, /listener lan: tls\.key, .*no\.pem, cannot be used: /],
    [{ cert: 'a.pem', key: 'b-key.pem' }, /listener lan: tls\.cert with tls\.key cannot be used: /],
    [
      { cert: 'a.pem', key: 'a-key.pem', clientCa: 'none.pem' },
      /listener lan: tls\.clientCa cannot be read: ENOENT/,
    ],
  ] as const) {
    const found = await withTls(tls);
    t.match(found, { code: 1, text: message }, JSON.stringify(tls));
  }
});

await t.test('other files and directories are named by their key', async (t) => {
  const below = join(file('no.pem'), 'x');
  for (const [config, message] of [
    [{ upstream: { url: 'tls://127.0.0.1:2', tls: { ca: 'none.pem' } } }, /upstream\.tls\.ca cannot be read/],
    [{ audit: { journal: below } }, /audit\.journal cannot be made: .*no\.pem/],
    [{ ownership: { state: below } }, /ownership\.state cannot be made: .*no\.pem/],
    [{ audit: { file: below } }, /the audit trail cannot be opened: .*no\.pem/],
  ] as const) {
    const found = await start(config);
    t.match(found, { code: 1, text: message }, JSON.stringify(config));
  }
});

import { mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import {
  openPolicyStore,
  PolicyLoadError,
  type PolicyEvent,
  type PolicyStore,
} from '../../src/config/policy-store.js';
import { WORDS } from '../policy/words.js';

const rule = (id: string): object => ({ id, sources: ['*'], operations: ['SystemPing'] });
const text = (...ids: string[]): string => JSON.stringify({ rules: ids.map(rule) });

async function open(
  t: Test,
  paths: string[],
  interval = 20,
): Promise<{ store: PolicyStore; events: PolicyEvent[] }> {
  const events: PolicyEvent[] = [];
  const store = await openPolicyStore(paths, WORDS, (event) => events.push(event), interval);
  t.teardown(() => store.close());
  return { store, events };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let n = 0; n < 250; n++) {
    if (condition()) return;
    await sleep(20);
  }
  throw new Error(`timed out waiting: ${what}`);
}

const fails = (t: Test, paths: string[], message: RegExp): Promise<unknown> =>
  t.rejects(
    openPolicyStore(paths, WORDS, () => {}),
    { name: 'PolicyLoadError', message },
  );

t.test('no policy, no guard: every first load that is not whole fails', async (t) => {
  const directory = t.testdir({
    empty: { 'policy.schema.json': '{}', 'notes.txt': 'x', '.hidden.json': '{' },
    broken: { 'a.json': text('a'), 'b.json': '{' },
    latin: { 'a.json': Buffer.from([0x7b, 0x22, 0xe9, 0x22, 0x3a, 0x31, 0x7d]) },
    'good.json': text('a'),
  });
  const at = (name: string): string => join(directory, name);
  symlinkSync('/does/not/exist', join(directory, 'broken-link.json'));
  await fails(t, [], /no policy file was named/);
  await fails(t, [at('missing.json')], /missing.json: cannot be read: ENOENT/);
  await fails(t, [at('good.json'), at('missing.json')], /missing.json/);
  await fails(t, [at('empty')], /empty: the directory holds no policy file/);
  await fails(t, [at('broken')], /b.json: .*line 1/);
  await fails(t, [at('latin')], /not UTF-8/);
  await fails(t, [at('empty/policy.schema.json')], /is a JSON Schema and no policy/);
  await fails(t, [at('broken-link.json')], /ENOENT/);
  await fails(t, ['/dev/zero'], /not a regular file/);
  t.ok(new PolicyLoadError([]).message);
});

t.test('files and directories together are one policy', async (t) => {
  const directory = t.testdir({
    d: { 'b.json': text('b'), 'a.json': text('a'), 'x.schema.json': '{}' },
    'c.json': text('c'),
  });
  const { store } = await open(t, [
    join(directory, 'd'),
    join(directory, 'c.json'),
    join(directory, 'c.json'),
  ]);
  const { policy, revision, loadedAt } = store.current;
  t.match({ files: policy.files, rules: policy.rules }, { files: 3, rules: 3 });
  t.same(
    policy.operations.get('SystemPing')?.allow.map((one) => one.id),
    ['a', 'b', 'c'],
    'sorted by name',
  );
  t.match(revision, /^[0-9a-f]{12}$/);
  t.ok(loadedAt instanceof Date);
  t.equal(store.lastError(), undefined);
});

t.test('INVARIANT: the last good policy stays in force until a whole good one replaces it', async (t) => {
  const directory = t.testdir({ d: { 'a.json': text('a') } });
  const file = join(directory, 'd', 'a.json');
  const { store, events } = await open(t, [join(directory, 'd')]);
  const first = store.current;

  writeFileSync(file, '{"rules": [');
  await until(() => store.lastError() !== undefined, 'error');
  t.equal(store.current, first);
  t.match(store.lastError(), /a.json: /);
  t.match(events, [{ ok: false, problems: [{ file }] }]);
  await sleep(100);
  t.equal(events.length, 1, 'an error is reported once');

  writeFileSync(`${file}.tmp`, text('a', 'b'));
  renameSync(`${file}.tmp`, file);
  await until(() => store.current !== first, 'rename-replace');
  t.equal(store.lastError(), undefined);
  t.equal(store.current.policy.rules, 2);
  t.match(events[1], { ok: true, revision: store.current.revision });

  writeFileSync(join(directory, 'd', 'c.json'), text('c'));
  await until(() => store.current.policy.rules === 3, 'file added');
  unlinkSync(join(directory, 'd', 'c.json'));
  await until(() => store.current.policy.rules === 2, 'file removed');

  const last = store.current;
  rmSync(join(directory, 'd'), { recursive: true });
  await until(() => store.lastError() !== undefined, 'directory gone');
  t.equal(store.current, last);
  mkdirSync(join(directory, 'd'));
  writeFileSync(file, text('a', 'b'));
  await until(() => store.lastError() === undefined, 'same content back');
  t.equal(store.current.revision, last.revision);
});

t.test('a link swapped underneath is noticed (Kubernetes ConfigMap)', async (t) => {
  const directory = t.testdir({ '..one': { 'p.json': text('a') }, '..two': { 'p.json': text('b') } });
  symlinkSync('..one', join(directory, '..data'));
  symlinkSync('..data/p.json', join(directory, 'p.json'));
  const { store } = await open(t, [directory]);
  const id = (): string | undefined => store.current.policy.operations.get('SystemPing')?.allow[0]?.id;
  t.equal(id(), 'a');
  symlinkSync('..two', join(directory, '..next'));
  renameSync(join(directory, '..next'), join(directory, '..data'));
  await until(() => id() === 'b', 'swap');
  t.equal(store.lastError(), undefined);
});

t.test('reload at once, and nothing after close', async (t) => {
  const directory = t.testdir({ 'a.json': text('a') });
  const file = join(directory, 'a.json');
  const { store, events } = await open(t, [file], 60_000);
  await store.reload();
  t.same(events, [], 'unchanged content is no event');
  writeFileSync(file, text('x'));
  await store.reload();
  t.match(events, [{ ok: true }]);
  writeFileSync(file, '{');
  await Promise.all([store.reload(), store.reload()]);
  t.match(store.lastError(), /a.json/);
  store.close();
  writeFileSync(file, text('y'));
  await store.reload();
  t.equal(store.current.policy.operations.get('SystemPing')?.allow[0]?.id, 'x');
});

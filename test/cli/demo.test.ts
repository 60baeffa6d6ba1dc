import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import t from 'tap';
import { runDemo } from '../../src/cli/demo.js';
import type { AttackReport } from '../../src/app/demo.js';

// A directory of our own, so that what is left behind shows.
const scratch = await mkdtemp(join(tmpdir(), 'breakwater-test-'));
process.env['TMPDIR'] = scratch;
t.teardown(() => rm(scratch, { recursive: true, force: true }));

async function demo(...args: string[]): Promise<{ code: number; out: string }> {
  let out = '';
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      out += chunk.toString();
      done();
    },
  });
  const code = await runDemo(args, { stdout: sink, stderr: sink });
  return { code, out };
}

async function policyFile(policy: unknown): Promise<string> {
  const path = join(await mkdtemp(join(scratch, 'policy-')), 'policy.json');
  await writeFile(path, JSON.stringify(policy));
  return path;
}

await t.test('the default policy stops build, create and start', async (t) => {
  const { code, out } = await demo('--json');
  const report = JSON.parse(out) as AttackReport & { passed: boolean };
  t.equal(code, 0, out);
  t.equal(report.passed, true);
  t.equal(report.traces, 0, 'nothing is left on the engine');
  t.equal(report.unguardedWorks, true, 'without the guard the attack works');
  t.same(
    report.results.map(({ operation }) => operation),
    [
      'SystemPing',
      'ContainerList',
      'ImageBuild',
      'ImageInspect',
      'ContainerCreate',
      'ContainerList',
      'ContainerStart',
    ],
  );
  for (const result of report.results) {
    if (result.mustStop) t.match(result, { status: 403, stopped: true, verdict: 'deny', reason: /\w/ });
    t.ok(result.unguarded < 300, `${result.call} works at the bare engine`);
  }
  t.same(
    report.results.filter(({ mustStop }) => mustStop).map(({ step }) => step),
    [3, 5, 7],
  );
});

await t.test('the table has a row for each step and a summary', async (t) => {
  const { code, out } = await demo();
  t.equal(code, 0);
  t.match(out, /step +call +without the guard +verdict +expected +reason/);
  for (const step of ['1  ', '2  ', '3  ', '4  ', '5  ', '6  ', '7  ']) t.match(out, `\n${step}`);
  t.match(out, /\nStopped: 3 of 3 steps/);
  t.match(out, /POST \/v1\.41\/build\?t=a[0-9a-f]{10}/);
});

await t.test('a policy that lets it through is named as the cause', async (t) => {
  const all = await policyFile({
    sources: {},
    rules: [{ id: 'all', sources: ['*'], operations: ['*'], permit: ['*'] }],
  });
  const open = await demo('--policy', all);
  t.equal(open.code, 1, open.out);
  t.match(open.out, /FAILED: not stopped: step 3 \(build the loader\), 5 .*, 7 /);

  const watching = await policyFile({ mode: 'observe', sources: {}, rules: [] });
  const observed = await demo('--policy', watching);
  t.equal(observed.code, 1);
  t.match(observed.out, /deny, only observed/);
});

await t.test('help, wrong flags, a policy that is not there', async (t) => {
  t.match(await demo('--help'), { code: 0, out: /--policy PATH/ });
  t.match(await demo('--nope'), {
    code: 2,
    out: /^breakwater demo: Unknown option '--nope'; try breakwater demo --help\n$/,
  });
  t.match(await demo('--policy', '/nonexistent/policy.json'), {
    code: 2,
    out: /^breakwater demo: \/nonexistent\/policy\.json: cannot be read/,
  });
  const left = (await readdir(scratch)).filter((name) => name.startsWith('breakwater-'));
  t.same(left, [], 'no temporary directory is left');
});

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { killGroup, until } from '../support/command.js';

// The units are of Type=notify: what systemd waits for must come, and not before the guard listens.

const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const NOTIFY = `#!/bin/sh
[ -S "$LOOK_FOR" ] && listens=yes || listens=no
echo "$* to $NOTIFY_SOCKET, listens: $listens" >>"$REPORT"
`;

/** A guard with a systemd-notify that writes down how it was called. */
function startGuard(t: Test, more: Readonly<Record<string, string>>, tool = NOTIFY) {
  const dir = mkdtempSync(join(tmpdir(), 'bw-ready-'));
  const socket = join(dir, 'guard.sock');
  writeFileSync(join(dir, 'systemd-notify'), tool, { mode: 0o755 });
  writeFileSync(
    join(dir, 'config.json'),
    JSON.stringify({
      listen: [{ url: `unix://${socket}` }],
      upstream: { url: `unix://${dir}/none.sock` },
      policy: [fileURLToPath(new URL('../../../policies/default.json', import.meta.url))],
      admin: null,
    }),
  );
  const child = spawn(process.execPath, [CLI, 'run', '--config', join(dir, 'config.json')], {
    env: { PATH: `${dir}:/usr/bin:/bin`, LOOK_FOR: socket, REPORT: join(dir, 'report'), ...more },
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  let printed = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (printed += piece));
  t.teardown(() => {
    killGroup(child);
    rmSync(dir, { recursive: true, force: true });
  });
  return {
    report: (): string => (existsSync(join(dir, 'report')) ? readFileSync(join(dir, 'report'), 'utf8') : ''),
    printed: (): string => printed,
    listens: (): boolean => existsSync(socket),
    stop: async (): Promise<number | null> => {
      child.kill('SIGTERM');
      await until(() => child.exitCode !== null || child.signalCode !== null, 20_000);
      return child.exitCode;
    },
  };
}

await t.test('systemd is told once, when the guard listens', async (t) => {
  const guard = startGuard(t, { NOTIFY_SOCKET: '/run/systemd/notify' });
  t.ok(await until(() => guard.report() !== '', 30_000), guard.printed());
  t.equal(await guard.stop(), 0, guard.printed());
  t.equal(guard.report(), '--ready to /run/systemd/notify, listens: yes\n');
});

await t.test('nobody is told who did not ask', async (t) => {
  const guard = startGuard(t, {});
  t.ok(await until(() => guard.printed().includes('policy '), 30_000), guard.printed());
  t.equal(await guard.stop(), 0, guard.printed());
  t.equal(guard.report(), '');
});

await t.test('where systemd cannot be told, the log says so, and the guard guards', async (t) => {
  const failing = '#!/bin/sh\necho "no such socket" >&2; exit 1\n';
  const guard = startGuard(t, { NOTIFY_SOCKET: '/run/systemd/notify' }, failing);
  const said = 'systemd cannot be told of the start';
  t.ok(await until(() => guard.printed().includes(said), 30_000), guard.printed());
  t.ok(guard.listens());
  t.equal(await guard.stop(), 0, guard.printed());
});

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { killGroup } from '../support/command.js';

// The scenes run in a network namespace of their own, with daemon, bridges, routes and packet filter: nothing of the
// machine is touched, and with the last process everything is gone.
const inner = 'BREAKWATER_EGRESS_INNER';

if (process.env[inner] === undefined && process.getuid?.() === 0) {
  const child = spawn('unshare', ['--net', process.execPath, fileURLToPath(import.meta.url)], {
    stdio: 'inherit',
    env: { ...process.env, [inner]: '1' },
    detached: true,
  });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
    process.on(signal, () => killGroup(child, signal));
  process.on('exit', () => killGroup(child, 'SIGTERM'));
  child.on('error', (error) => {
    process.stdout.write(`TAP version 14\nnot ok 1 - unshare: ${error.message}\n1..1\n`);
    process.exitCode = 1;
  });
  child.on('exit', (code) => (process.exitCode = code ?? 1));
} else {
  const { scenes } = await import('./egress-scenes.js');
  await scenes();
}

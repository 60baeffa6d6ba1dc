import { writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { missing, startEngine, type Engine } from './engine.js';
import { importTools, missingNft } from './internet.js';
import { must } from './namespace.js';

/** Plays the scenes with a real engine in this network, or says loudly why they cannot be played. */
export async function playScenes(
  name: string,
  play: (test: Test, docker: Engine) => Promise<void>,
): Promise<void> {
  const skip = missing({ cli: true }) ?? (await missingNft());
  if (skip !== undefined) {
    t.comment(skip);
    t.plan(0, skip);
    return;
  }
  t.setTimeout(180_000);
  await t.test(name, async (test) => {
    await must('ip', ['link', 'set', 'lo', 'up']);
    writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
    const docker = await startEngine();
    test.teardown(() => docker.stop());
    await importTools(docker);
    await play(test, docker);
  });
}

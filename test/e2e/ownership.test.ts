import t, { type Test } from 'tap';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { get, missing, startEngine, type Engine } from '../support/engine.js';
import { selfCheck } from '../support/guard.js';
import { startTeams, type Team, type Teams } from '../support/teams.js';

// Two teams with a certificate each share one engine, each with a Compose project: neither sees or touches what the other
// made, and each works as if it were alone.

const COMPOSE = `
services:
  web:
    build: .
    image: NAME/web:1
    command: sh -c 'echo NAME-secret-log; sleep 600'
    environment: { TOKEN: NAME-secret-env }
    volumes: [ data:/data ]
    networks: [ inner ]
    labels: { note: NAME-secret-label }
    stop_grace_period: 1s
  side:
    image: alpine
    command: sleep 600
    networks: [ inner ]
    depends_on: [ web ]
    stop_grace_period: 1s
volumes: { data: {} }
networks: { inner: {} }
`;

const skip = missing({ cli: true }) ?? (selfCheck ? 'self-check: nothing is denied by a relay' : undefined);
if (skip !== undefined) {
  t.comment(skip);
  t.plan(0, skip);
} else {
  await main();
}

async function main(): Promise<void> {
  t.setTimeout(300_000);
  const engine = await startEngine();
  const teams = await startTeams(engine);
  t.teardown(async () => {
    await teams.stop();
    await engine.stop();
  });
  for (const team of [teams.a, teams.b]) {
    await t.test(`${team.name}: own work is unhindered`, async (t) => {
      const cwd = join(engine.dir, team.name);
      mkdirSync(cwd, { recursive: true });
      writeFileSync(join(cwd, 'compose.yaml'), COMPOSE.replaceAll('NAME', team.name));
      writeFileSync(join(cwd, 'Dockerfile'), `FROM alpine\nRUN echo ${team.name}-secret-file > /secret\n`);
      await works(t, team, ['compose', 'up', '-d', '--build'], cwd);
      const ps = await works(t, team, ['compose', 'ps', '--format', '{{.Service}}'], cwd);
      t.same(ps.trim().split('\n').sort(), ['side', 'web']);
      t.match(await works(t, team, ['compose', 'logs', 'web'], cwd), `${team.name}-secret-log`);
      t.match(await works(t, team, ['compose', 'exec', '-T', 'web', 'cat', '/secret'], cwd), `${team.name}-secret-file`);
    });
  }
}

async function works(t: Test, team: Team, args: readonly string[], cwd: string): Promise<string> {
  const { code, stdout, stderr } = await team.docker(args, { cwd });
  t.equal(code, 0, `${team.name}: docker ${args.join(' ')}${code === 0 ? '' : `: ${stderr}`}`);
  return stdout;
}
void ({} as Engine & Teams & typeof get);

import t from 'tap';
import { appendFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AuditWriter } from '../../src/audit/writer.js';
import type { AuditEvent } from '../../src/audit/event.js';
import type { EgressEvent } from '../../src/audit/egress-event.js';
import { openOutbound, type Outbound } from '../../src/app/outbound/outbound.js';
import type { Response } from '../../src/app/outbound/respond.js';
import { openEngine } from '../../src/upstream/engine.js';
import { OPERATIONS } from '../../src/docker/catalogue.js';
import type { Call } from '../../src/docker/call.js';
import { run, sleep, until } from '../support/command.js';
import { get, missing, startEngine } from '../support/engine.js';

// Reports of the outbound process, put to the containers of a real engine: who had the address at that time.

const skip = missing({ cli: true });
if (skip !== undefined) {
  t.comment(skip);
  t.plan(0, skip);
} else {
  t.setTimeout(180_000);
  await main();
}

interface Recorder extends AuditWriter {
  readonly events: EgressEvent[];
  failing: boolean;
}

function recorder(): Recorder {
  const events: EgressEvent[] = [];
  const self: Recorder = {
    events,
    failing: false,
    stats: { lines: 0, failures: 0, healthy: true },
    flush() {},
    reopen() {},
    close() {},
    record(event: AuditEvent, written) {
      if (self.failing) return void setImmediate(() => written?.(new Error('disk full')));
      if (event.event === 'egress') events.push(event);
      setImmediate(() => written?.(undefined));
    },
  };
  return self;
}

async function main(): Promise<void> {
  const docker = await startEngine();
  t.teardown(() => docker.stop());
  const engine = openEngine({ url: docker.host, connectTimeout: 5_000 });
  t.teardown(() => engine.destroy());
  const cli = (...args: string[]): ReturnType<typeof run> =>
    run('docker', args, { env: { ...process.env, DOCKER_HOST: docker.host }, timeout: 60_000 });

  let rooms = 0;
  let running: Outbound | undefined;
  const open = (
    action: 'none' | Response = 'none',
    extra: { minConfidence?: number; except?: string[] } = {},
  ): { attempts: string; audit: Recorder; warnings: string[]; outbound: Outbound } => {
    const directory = join(docker.dir, `outbound-${(rooms += 1)}`);
    const attempts = join(directory, 'spool');
    mkdirSync(attempts, { recursive: true });
    const audit = recorder();
    const warnings: string[] = [];
    const outbound = openOutbound(
      {
        attempts,
        creators: join(directory, 'creators.jsonl'),
        onHit: { action, minConfidence: extra.minConfidence ?? 0, except: extra.except ?? [] },
      },
      engine,
      audit,
      (message) => warnings.push(message),
    );
    running = outbound;
    return { attempts, audit, warnings, outbound };
  };
  t.afterEach(async () => {
    await running?.stop();
    running = undefined;
    const { stdout } = await cli('ps', '-aq');
    const ids = stdout.split('\n').filter((id) => id !== '');
    if (ids.length > 0) await cli('rm', '-f', ...ids);
  });

  let reports = 0;
  const report = (attempts: string, fields: Record<string, unknown>, segment = '00000001.jsonl'): string => {
    const now = new Date().toISOString();
    const id = `report-${(reports += 1)}`;
    const base = {
      v: 1,
      id,
      at: now,
      kind: 'attempt',
      action: 'blocked',
      via: 'address',
      first: now,
      last: now,
    };
    const what = { destination: '198.51.100.66', name: '', protocol: 'tcp', port: 80, count: 3 };
    const why = { indicator: '198.51.100.66', type: 'ipv4', feed: 'c2', confidence: 90, threat: 'miner' };
    const line = JSON.stringify({ ...base, ...what, ...why, ...fields });
    appendFileSync(join(attempts, segment), `${line}\n`);
    return id;
  };
  const addressOf = async (name: string): Promise<string> => {
    const { body } = await get(docker.socket, `/containers/${name}/json`);
    const { NetworkSettings } = JSON.parse(body.toString()) as {
      NetworkSettings: { Networks: Record<string, { IPAddress: string }> };
    };
    return Object.values(NetworkSettings.Networks)[0]!.IPAddress;
  };
  const seen = async (audit: Recorder, id: string): Promise<EgressEvent | undefined> => {
    await until(() => audit.events.some((event) => event.id === id), 15_000, 20);
    return audit.events.find((event) => event.id === id);
  };

  await t.test('a running container, one that starts later, and one that is already gone', async (t) => {
    await cli('run', '-d', '--name', 'before', 'alpine', 'sleep', '60');
    const { attempts, audit } = open();
    const before = report(attempts, { source: await addressOf('before') });
    t.match((await seen(audit, before))?.container, { name: 'before', image: 'alpine' });

    await cli('run', '-d', '--name', 'later', 'alpine', 'sleep', '60');
    const address = await addressOf('later');
    const later = report(attempts, { source: address });
    t.match(await seen(audit, later), {
      kind: 'attempt',
      container: { name: 'later' },
      destination: '198.51.100.66',
      count: 3,
      feed: 'c2',
      indicator: '198.51.100.66',
      port: 80,
    });
    const then = new Date().toISOString();
    await cli('rm', '-f', 'later');
    // The address goes to another one; what the first did is still the first one's.
    await cli('run', '-d', '--name', 'heir', 'alpine', 'sleep', '60');
    t.equal(await addressOf('heir'), address, 'the address is used again');
    await sleep(1_500);
    const late = report(attempts, { source: address, first: then, last: then });
    t.equal((await seen(audit, late))?.container?.name, 'later', 'the one that had it at that time');
    const now = report(attempts, { source: address });
    t.equal((await seen(audit, now))?.container?.name, 'heir');
    const host = report(attempts, { source: '10.0.0.99' });
    t.equal((await seen(audit, host))?.container, undefined, 'nobody had that address');
  });

  await t.test('a RUN step of a build that ends at once', async (t) => {
    const { attempts, audit } = open();
    await sleep(500);
    const dockerfile = 'FROM alpine\nRUN ip -4 addr show eth0; wget -T 1 http://127.0.0.1:9/ || true\n';
    const context = join(docker.dir, 'build');
    mkdirSync(context, { recursive: true });
    writeFileSync(join(context, 'Dockerfile'), dockerfile);
    const first = new Date().toISOString();
    const { stdout, stderr } = await run('docker', ['build', '--no-cache', context], {
      env: { ...process.env, DOCKER_HOST: docker.host, DOCKER_BUILDKIT: '0' },
      timeout: 60_000,
    });
    const source = /inet ([0-9.]+)/.exec(stdout + stderr)?.[1] ?? '';
    const running = /Running in ([0-9a-f]{12})/.exec(stdout + stderr)?.[1] ?? 'none';
    const id = report(attempts, { source, first });
    const event = await seen(audit, id);
    t.equal(event?.container?.id.slice(0, 12), running, 'the container of the step');
  });

  await t.test('which call made it', async (t) => {
    const { attempts, audit, outbound } = open();
    const created = await cli('run', '-d', '--name', 'made', 'alpine', 'sleep', '60');
    const operation = OPERATIONS.find(({ id }) => id === 'ContainerCreate')!;
    const client = { listener: 'lan', address: '10.20.0.7', port: 1, certificate: [], tokenSha256: '' };
    const call = { id: 'abc-1', operation, client } as unknown as Call;
    const watch = outbound.creators.watch(call, ['ci'])!;
    const answer = `{"Id":"${created.stdout.trim()}","Warnings":[]}`;
    watch(Buffer.from(answer.slice(0, 30)));
    watch(Buffer.from(answer.slice(30)));
    const forged = outbound.creators.watch({ ...call, id: 'evil-1' }, ['guest'])!;
    forged(Buffer.from(answer));
    const id = report(attempts, { source: await addressOf('made') });
    t.same((await seen(audit, id))?.createdBy, {
      call: 'abc-1',
      operation: 'ContainerCreate',
      sources: ['ci'],
      client: '10.20.0.7',
    });
  });

  await t.test('nothing is lost: a full disk, a restart, several segments, bad lines', async (t) => {
    const { attempts, audit, outbound, warnings } = open();
    audit.failing = true;
    const first = report(attempts, { source: '' });
    await sleep(700);
    t.same(audit.events, []);
    audit.failing = false;
    t.ok(await seen(audit, first), 'on record when the disk takes it again');
    appendFileSync(join(attempts, '00000001.jsonl'), 'no JSON\n[1]\n');
    const second = report(attempts, { source: '' });
    t.ok(await seen(audit, second));
    t.ok(
      warnings.some((text) => text.includes('no JSON object')),
      'the bad lines are told',
    );
    const third = report(attempts, { source: '' }, '00000002.jsonl');
    t.ok(await seen(audit, third));
    await until(() => !existsSync(join(attempts, '00000001.jsonl')), 10_000);
    t.same(
      readdirSync(attempts).filter((name) => name.endsWith('.jsonl')),
      ['00000002.jsonl'],
      'what is done is taken away',
    );
    await outbound.stop();
    const fourth = report(attempts, { source: '' }, '00000002.jsonl');
    const again = recorder();
    const options = { action: 'none' as const, minConfidence: 0, except: [] };
    running = openOutbound(
      { attempts, creators: join(docker.dir, 'again.jsonl'), onHit: options },
      engine,
      again,
      () => {},
    );
    t.ok(await seen(again, fourth), 'goes on where it stopped');
    t.equal(again.events.length, 1, 'and tells nothing twice');
  });

  await t.test('responses: pause, stop, disconnect; what is spared', async (t) => {
    const status = async (name: string): Promise<string> => {
      const { body } = await get(docker.socket, `/containers/${name}/json`);
      return (JSON.parse(body.toString()) as { State: { Status: string } }).State.Status;
    };
    await cli('run', '-d', '--name', 'bad', 'alpine', 'sleep', '60');
    await cli('run', '-d', '--name', 'good', 'alpine', 'sleep', '60');
    const address = await addressOf('bad');
    const pausing = open('pause', { minConfidence: 50 });
    const weak = report(pausing.attempts, { source: address, confidence: 49 });
    await seen(pausing.audit, weak);
    const policy = report(pausing.attempts, { source: address, indicator: '', via: 'policy' });
    await seen(pausing.audit, policy);
    t.equal(await status('bad'), 'running', 'too little confidence, or no indicator: nothing is done');
    const strong = report(pausing.attempts, { source: address });
    t.match(await seen(pausing.audit, `${strong}.r`), {
      kind: 'response',
      action: 'pause',
      message: 'paused',
    });
    t.equal(await status('bad'), 'paused');
    t.equal(await status('good'), 'running');
    const twice = report(pausing.attempts, { source: address });
    t.match((await seen(pausing.audit, `${twice}.r`))?.message, /already paused/);
    await pausing.outbound.stop();
    await cli('unpause', 'bad');

    const sparing = open('stop', { except: ['ba*'] });
    const spared = report(sparing.attempts, { source: address });
    await seen(sparing.audit, spared);
    t.equal(await status('bad'), 'running', 'spared by its name');
    await sparing.outbound.stop();

    const cutting = open('disconnect');
    const cut = report(cutting.attempts, { source: address });
    t.match((await seen(cutting.audit, `${cut}.r`))?.message, /^disconnected from bridge$/);
    const { body } = await get(docker.socket, '/containers/bad/json');
    const { NetworkSettings } = JSON.parse(body.toString()) as {
      NetworkSettings: { Networks: Record<string, unknown> };
    };
    t.same(NetworkSettings.Networks, {});
    await cutting.outbound.stop();

    await cli('network', 'connect', 'bridge', 'bad');
    const stopping = open('stop');
    const stop = report(stopping.attempts, { source: await addressOf('bad') });
    t.equal((await seen(stopping.audit, `${stop}.r`))?.message, 'stopped');
    t.equal(await status('bad'), 'exited');
  });
}

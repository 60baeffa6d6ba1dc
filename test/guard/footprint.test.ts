import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { FootprintCounter, functionsOf, type Footprint } from '../support/footprint.js';
import { parseAnswers } from '../support/raw.js';
import { echo, json, type Behaviour } from '../support/recording-upstream.js';
import { projectRoot } from '../support/command.js';
import { file, tar } from '../support/tar.js';
import { startGuarded } from './guarded.js';

// How much code one call goes through: a reader has to know all of it to know what happens to the call. The figures must not
// grow; what they are to come down to stands beside them. BREAKWATER_FOOTPRINT=names prints every function.

const directory = mkdtempSync(join(tmpdir(), 'bw-footprint-'));
const shared = join(directory, 'shared');
mkdirSync(shared);
const guarded = await startGuarded({
  policy: {
    rules: [
      {
        id: 'team',
        sources: ['*'],
        operations: ['SystemPing', 'ContainerCreate', 'ContainerAttach', 'ImageBuild'],
        permit: [`bind:${shared}`, 'attach-stdin'],
      },
    ],
  },
});
const counter = new FootprintCounter();
t.teardown(async () => {
  counter.close();
  await guarded.close();
  rmSync(directory, { recursive: true });
});

const post = (target: string, headers: readonly string[], body: Buffer | string): Buffer =>
  Buffer.concat([
    Buffer.from(
      [`POST ${target} HTTP/1.1`, 'Host: docker', ...headers, `Content-Length: ${body.length}`, '', ''].join(
        '\r\n',
      ),
    ),
    Buffer.from(body),
  ]);

interface Case {
  readonly name: string;
  readonly request: Buffer | string;
  readonly answer: Behaviour;
  readonly status: number;
  /** The call takes the connection with it. */
  readonly once?: boolean;
  readonly files: number;
  readonly functions: number;
}

const CASES: readonly Case[] = [
  {
    name: 'ping',
    request: 'GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n',
    answer: json(200, 'OK'),
    status: 200,
    files: 25,
    functions: 80,
  },
  {
    name: 'create with a bind',
    request: post(
      '/v1.41/containers/create?name=app',
      ['Content-Type: application/json'],
      JSON.stringify({
        Image: 'registry.example.com/app:1',
        Cmd: ['serve'],
        HostConfig: { NetworkMode: 'default', Binds: [`${shared}:/shared`] },
      }),
    ),
    answer: json(201, `{"Id":"${'ab'.repeat(32)}","Warnings":[]}`),
    status: 201,
    // To be: 150 functions.
    files: 43,
    functions: 158,
  },
  {
    name: 'classic build',
    request: post(
      '/v1.41/build?t=app',
      ['Content-Type: application/x-tar'],
      tar(
        file('Dockerfile', 'FROM alpine:3.20\nCOPY data /data\nRUN echo ready\n'),
        file('data', 'x'.repeat(5000)),
      ),
    ),
    answer: json(200, '{"stream":"built"}'),
    status: 200,
    files: 60,
    functions: 325,
  },
  {
    name: 'attach',
    request:
      'POST /v1.41/containers/app/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: docker\r\n' +
      'Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n',
    answer: echo(),
    status: 101,
    once: true,
    files: 38,
    functions: 136,
  },
];

/** Sends a request, waits for its answer, and for its end to be on record. */
async function call({ request, status }: Case, socket: Socket): Promise<void> {
  const pieces: Buffer[] = [];
  const take = (piece: Buffer): void => void pieces.push(piece);
  socket.on('data', take);
  socket.write(request);
  const answers = () => parseAnswers(Buffer.concat(pieces));
  for (let n = 0; n < 400 && answers()[0]?.complete !== true; n++) await pause(5);
  socket.off('data', take);
  if (answers()[0]?.status !== status) throw new Error(Buffer.concat(pieces).toString('latin1'));
  // Audit lines that wait for others to be written with.
  await pause(50);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const dial = (): Promise<Socket> =>
  new Promise((resolve) => {
    const socket = connect(guarded.unix.path, () => resolve(socket));
  });

/** Of a call like others before it: connections are open, and nothing is set up for the first time. */
async function footprint(one: Case): Promise<Footprint> {
  guarded.upstream.behave = one.answer;
  let socket = await dial();
  for (let n = 0; n < 3; n++) {
    await call(one, socket);
    if (one.once !== true) continue;
    socket.destroy();
    socket = await dial();
    await pause(20);
  }
  const found: Footprint[] = [];
  for (let n = 0; n < 3; n++) {
    counter.start();
    await call(one, socket);
    found.push(counter.stop());
    if (one.once !== true) continue;
    socket.destroy();
    socket = await dial();
    await pause(20);
  }
  socket.destroy();
  // Timers of the guard, such as the look at the policy files, may fall into one of them.
  return found.reduce((least, other) => (functionsOf(other) < functionsOf(least) ? other : least));
}

/** The steps that pipeline.ts names, what it imports and calls: each with its file. */
function stepsOf(source: string): ReadonlyMap<string, string> {
  const steps = new Map<string, string>();
  for (const [, names = '', from = ''] of source.matchAll(/^import \{([^}]*)\} from '(.*)\.js';/gm)) {
    const file = `${join('src/guard', from)}.ts`;
    for (const name of names.split(',').map((one) => one.trim()))
      if (/^[a-z]/.test(name) && !name.startsWith('type ')) steps.set(name, file);
  }
  return steps;
}

const isAsync = (step: string): boolean =>
  readFileSync(join(projectRoot, steps.get(step)!), 'utf8').includes(`async function ${step}(`);

const pipeline = readFileSync(join(projectRoot, 'src/guard/pipeline.ts'), 'utf8');
const steps = stepsOf(pipeline);
const table: string[] = ['call                  files  functions  steps'];

for (const one of CASES) {
  await t.test(one.name, async (t) => {
    const found = await footprint(one);
    const functions = functionsOf(found);
    const entered = [...steps].flatMap(([step, from]) =>
      (found.get(from) ?? []).filter(({ name }) => name === step),
    );
    table.push(
      `${one.name.padEnd(20)}  ${String(found.size).padStart(5)}  ${String(functions).padStart(9)}  ${String(entered.length).padStart(5)}`,
    );
    if (process.env['BREAKWATER_FOOTPRINT'] === 'names')
      for (const [name, all] of [...found].sort(([a], [b]) => (a < b ? -1 : 1)))
        t.comment(`${name}: ${all.map((each) => each.name).join(' ')}`);
    t.ok(found.size <= one.files, `${found.size} files are at most ${one.files}`);
    t.ok(functions <= one.functions, `${functions} functions are at most ${one.functions}`);
    // A build is judged twice, with and without its context. V8 counts an async function again when it goes on.
    if (one.name !== 'classic build')
      t.same(
        entered.filter(({ name, count }) => count > 1 && !isAsync(name)),
        [],
        'no step is entered twice',
      );
  });
}

t.test('each step stands in pipeline.ts once', (t) => {
  t.ok(steps.size > 8, `${steps.size} steps are found`);
  for (const step of steps.keys()) {
    const calls = pipeline.match(new RegExp(`(?<![.\\w])${step}\\(`, 'g')) ?? [];
    t.equal(calls.length, 1, step);
  }
  t.end();
});

t.teardown(() => console.log(`\n${table.map((line) => `# ${line}`).join('\n')}`));

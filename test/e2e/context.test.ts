import t, { type Test } from 'tap';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { relayContext } from '../../src/capture/context/context.js';
import { CONTEXT_LIMITS } from '../../src/capture/context/rewrite.js';
import { CASES, type ContextCase } from '../support/context-cases.js';
import { randomContexts } from '../support/random-contexts.js';
import { missing, send, startEngine } from '../support/engine.js';

// Sends each context to a real dockerd as it is and as the guard writes it, and looks which Dockerfile won.

/** Seed of the random ones; their number is bounded by what an engine does in some seconds. */
const SEED = Number(process.env['BREAKWATER_FUZZ_SEED'] ?? 2026);
const RANDOM = 150;

const skip = missing();
if (skip !== undefined) {
  t.comment(skip);
  t.plan(0, skip);
} else {
  t.setTimeout(560_000);
  await t.test(
    'contexts: the Dockerfile that dockerd uses is the one that was read',
    { timeout: 280_000 },
    (t) => main(t),
  );
  // fetch-trixie.sh puts a newer dockerd there, which knows zstd.
  const newer = join(process.env['BREAKWATER_TRIXIE'] ?? '', 'dockerd');
  if (existsSync(newer)) {
    await t.test('the same, newer engine', { timeout: 280_000 }, (t) => main(t, newer));
  } else {
    t.comment('NOT TESTED with a newer dockerd: BREAKWATER_TRIXIE is not set');
  }
}

interface Read {
  /** Label of the Dockerfile in the reading; '' none. */
  readonly winner: string;
  readonly clear: boolean;
  readonly fresh: Buffer | undefined;
}

async function main(t: Test, dockerd?: string): Promise<void> {
  const engine = await startEngine(dockerd);
  t.teardown(() => engine.stop());
  let differ = 0;
  const cases = [...CASES, ...randomContexts(SEED, RANDOM)];
  for (const c of cases) {
    const ours = await read(c);
    const original = c.hangs === true ? 'hangs' : await build(engine.socket, c, c.body);
    if (original !== ours.winner) differ += 1;
    if (ours.clear && !(c.someRefuse === true && original === ''))
      t.equal(original, ours.winner, `${c.name}: dockerd reads the original as it was read here`);
    if (ours.fresh !== undefined) {
      t.equal(
        await build(engine.socket, c, ours.fresh),
        ours.winner,
        `${c.name}: dockerd reads the fresh tar so`,
      );
    }
  }
  t.ok(differ > 0, 'some ambiguous contexts do differ');
  t.comment(
    `${cases.length} contexts (random ones: seed ${SEED}) on dockerd ${engine.version}, ${differ} ambiguous or refused ones are built otherwise`,
  );
}

async function read(c: ContextCase): Promise<Read> {
  const relay = relayContext(Readable.from(c.body.length === 0 ? [] : [c.body]), {
    dockerfile: c.dockerfile ?? '',
    limits: CONTEXT_LIMITS,
    idle: 10_000,
  });
  const chunks: Buffer[] = [];
  relay.output.on('data', (chunk: Buffer) => chunks.push(chunk));
  try {
    const reading = await relay.read;
    relay.release();
    await new Promise((resolve) => relay.output.on('end', resolve));
    const text = Buffer.from(reading.dockerfile?.content ?? '').toString();
    return {
      winner: /winner=(\w)/.exec(text)?.[1] ?? '',
      clear: reading.ambiguities.length === 0,
      fresh: Buffer.concat(chunks),
    };
  } catch {
    return { winner: '', clear: false, fresh: undefined };
  }
}

/** The label of the Dockerfile that was built; '' when nothing was. */
async function build(socket: string, c: ContextCase, body: Buffer): Promise<string> {
  const query = new URLSearchParams({ networkmode: 'none', rm: '1', forcerm: '1', version: '1' });
  if (c.dockerfile !== undefined) query.set('dockerfile', c.dockerfile);
  const answer = await send(socket, 'POST', `/build?${query.toString()}`, body);
  const text = answer.body.toString();
  if (!text.includes('Successfully built')) return '';
  return /LABEL winner=(\w)/.exec(text)?.[1] ?? '?';
}

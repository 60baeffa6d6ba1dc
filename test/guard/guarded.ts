import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import type { Limits } from '../../src/config/config.js';
import { loadConfig } from '../../src/config/load.js';
import { startGuard } from '../../src/app/guard.js';
import { startRecordingUpstream, type RecordingUpstream } from '../support/recording-upstream.js';
import { talk, type RawTarget } from '../support/raw.js';

export interface AuditLine {
  readonly event: 'decision' | 'outcome';
  readonly call: string;
  readonly operation: string;
  readonly verdict: string;
  readonly code: string;
  readonly reason: string;
  readonly hazards: readonly string[];
  readonly client: { readonly address: string; readonly listener: string };
  readonly sources: readonly string[];
  readonly indicators?: readonly Readonly<Record<string, unknown>>[];
  readonly indicatorCount?: number;
  readonly status: number;
  readonly end: string;
}

/**
 * A guard in this process, in front of an engine that records every byte: for what the guard makes of a request, as raw
 * bytes, with its clock, feed and policy in the test's hands. Other ways to start one: `startGuard` of support/guard.ts, a
 * process in front of a real engine; `runGuard` of support/guard-process.ts, a process that a test kills and starts again.
 */
export interface Guarded {
  readonly tcp: RawTarget & { readonly port: number };
  readonly unix: RawTarget & { readonly path: string };
  readonly upstream: RecordingUpstream;
  /** Audit lines since the last call of this function. */
  audit(): AuditLine[];
  /** All audit lines as they are in the file. */
  auditText(): string;
  /** Writes the feed anew; resolves when it is in force. */
  list(feed: readonly string[]): Promise<void>;
  /** Puts another policy in force. */
  enforce(policy: unknown): Promise<void>;
  /** The value of one sample of `/metrics`, by its name and labels as printed; 0 when it is not there. */
  metric(sample: string): Promise<number>;
  /** Stops the guard alone; what it wrote stays. */
  stop(deadline: number): Promise<void>;
  close(deadline?: number): Promise<void>;
}

export interface GuardedOptions {
  readonly policy: unknown;
  readonly limits?: Partial<Limits>;
  /** ms */
  readonly upstreamTimeout?: number;
  /** Where the recording upstream listens. */
  readonly upstreamOn?: 'unix' | 'tcp';
  /** More of the section `upstream`; the guard sees the file system unless it says otherwise. */
  readonly upstream?: Readonly<Record<string, unknown>>;
  /** Instead of the recording one. */
  readonly upstreamUrl?: string;
  /** What the feed `c2` lists; default: there is no feed. */
  readonly feed?: readonly string[];
  readonly feedAction?: 'block' | 'alert';
  /** See GuardOptions. */
  readonly clock?: () => number;
  /** More of the config file: sections that stand above the usual ones. */
  readonly config?: Readonly<Record<string, unknown>>;
}

function feedsOf({ feedAction = 'block' }: GuardedOptions): unknown {
  const feed = { name: 'c2', url: 'file:feed.txt', action: feedAction, confidence: 90, allowReserved: true };
  return { state: 'feeds', sources: [feed] };
}

/** Starts a guard on a free TCP port and a unix socket. */
export async function startGuarded(options: GuardedOptions): Promise<Guarded> {
  const directory = mkdtempSync(join(tmpdir(), 'bw-guarded-'));
  const file = (name: string): string => join(directory, name);
  const upstream = await startRecordingUpstream(options.upstreamOn);
  writeFileSync(file('policy.json'), JSON.stringify(options.policy));
  const writeFeed = (feed: readonly string[]): void => writeFileSync(file('feed.txt'), feed.join('\n'));
  writeFeed(options.feed ?? []);
  writeFileSync(
    file('config.json'),
    JSON.stringify({
      listen: [
        { name: 'tcp', url: 'tcp://127.0.0.1:0' },
        { name: 'unix', url: `unix://${file('docker.sock')}` },
      ],
      upstream: {
        url: options.upstreamUrl ?? upstream.url,
        timeout: options.upstreamTimeout ?? 5_000,
        hostRoot: '/',
        ...options.upstream,
      },
      policy: [file('policy.json')],
      admin: { url: 'tcp://127.0.0.1:0' },
      // Lines are counted by call; alerts have tests of their own.
      audit: { file: file('audit.jsonl'), alerts: false },
      limits: options.limits ?? {},
      ...(options.feed !== undefined && { feeds: feedsOf(options) }),
      ...options.config,
    }),
  );
  const loaded = loadConfig(file('config.json'), { listen: [], policy: [] });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const guard = await startGuard({
    config: loaded.config,
    log: pino({ level: 'silent' }),
    ...(options.clock !== undefined && { clock: options.clock }),
  }).catch(async (error: unknown) => {
    await upstream.close();
    throw error;
  });
  const admin = new URL(guard.adminUrl ?? '');
  let read = 0;
  let stopped: Promise<void> | undefined;
  const auditText = (): string => readFileSync(file('audit.jsonl'), 'utf8');
  return {
    tcp: { port: Number(new URL(guard.listeners[0]!.url.replace('tcp:', 'http:')).port) },
    unix: { path: file('docker.sock') },
    upstream,
    auditText,
    async list(feed) {
      writeFeed(feed);
      await guard.reload();
    },
    async enforce(policy) {
      writeFileSync(file('policy.json'), JSON.stringify(policy));
      await guard.reload();
    },
    audit() {
      const text = auditText();
      const fresh = text.slice(read);
      read = text.length;
      return fresh
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as AuditLine);
    },
    async metric(sample) {
      const { answers } = await talk({ port: Number(admin.port) }, [
        'GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n',
      ]);
      const line = answers[0]?.body
        .toString()
        .split('\n')
        .find((one) => one.startsWith(`${sample} `));
      return line === undefined ? 0 : Number(line.slice(sample.length + 1));
    },
    stop(deadline) {
      stopped = guard.close(deadline);
      return stopped;
    },
    async close(deadline = 500) {
      await (stopped ?? guard.close(deadline));
      await upstream.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/**
 * What is wrong with an audit trail: calls without exactly one decision and, after it, exactly one outcome. Input that
 * never became a request (no method) has no outcome.
 */
export function unpaired(text: string): string[] {
  const seen = new Map<string, string>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const { event, call, method } = JSON.parse(line) as AuditLine & { method: string };
    seen.set(call, `${seen.get(call) ?? ''}${method === '' ? 'unreadable' : event} `);
  }
  return [...seen]
    .filter(([, events]) => events !== 'decision outcome ' && events !== 'unreadable ')
    .map(([call, events]) => `${call}: ${events}`);
}

/** `/_ping` through the guard: 200 when it is well. */
export async function ping(target: RawTarget): Promise<number> {
  const { answers } = await talk(target, ['GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n'], { linger: 0 });
  return answers[0]?.status ?? 0;
}

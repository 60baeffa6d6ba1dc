import { setTimeout as sleep } from 'node:timers/promises';
import type { AuditWriter } from '../../audit/writer.js';
import type { EgressEvent } from '../../audit/egress-event.js';
import { compileGlob } from '../../base/glob.js';
import { asString } from '../../base/json.js';
import type { Engine } from '../../upstream/engine.js';
import { openCreators, type Creators } from './creators.js';
import { openLeases, type ContainerIdentity } from './leases.js';
import { readAttempts } from './read-attempts.js';
import { respond, type Response } from './respond.js';
import { watchEngine } from './watch-engine.js';

/** Where the guard's part of the outbound side keeps things, and what it does on a hit. */
export interface OutboundOptions {
  /** Directory of the queue that the outbound process writes its attempts into. */
  readonly attempts: string;
  /** File that remembers which call made which container. */
  readonly creators: string;
  readonly onHit: {
    readonly action: 'none' | Response;
    /** Indicators with less confidence change nothing (0 to 100). */
    readonly minConfidence: number;
    /** Containers that are never touched, by name, with globs. */
    readonly except: readonly string[];
  };
}

/** Finds the containers and calls behind blocked traffic. */
export interface Outbound {
  readonly creators: Creators;
  stop(): Promise<void>;
}

type Entry = Readonly<Record<string, unknown>>;

/** Delay of the engine's network events: usual, and longest (milliseconds). */
const EVENTS_DELAY_MS = 1_000;
const EVENTS_TIMEOUT_MS = 5_000;
/** Largest difference of the packet filter's clock and the engine's. */
const CLOCK_TOLERANCE_MS = 1_000;
const POLL_INTERVAL_MS = 100;
/** Between two tries to write an attempt into the audit trail. */
const RETRY_INTERVAL_MS = 1_000;

/**
 * Reads the reports of the outbound process, finds out which container it was and which call made it, and puts that on
 * record. With a response configured, the container is dealt with once, after the record.
 *
 * @throws Error when the history of creators cannot be opened.
 */
export function openOutbound(
  options: OutboundOptions,
  engine: Engine,
  audit: AuditWriter,
  warn: (message: string) => void,
): Outbound {
  const creators = openCreators(options.creators, warn);
  const leases = openLeases();
  const watch = watchEngine(engine, leases, warn);
  const spared = options.onHit.except.map(compileGlob);
  let stopped = false;

  /** INVARIANT: an attempt leaves the queue only when it is on record. */
  const record = async (event: EgressEvent): Promise<void> => {
    for (;;) {
      const failure = await new Promise<Error | undefined>((resolve) => audit.record(event, resolve));
      if (failure === undefined) return;
      if (stopped) throw failure;
      await sleep(RETRY_INTERVAL_MS, undefined, { ref: false });
    }
  };

  /** The container that had the address. Network events may lag: it counts as unknown only after EVENTS_TIMEOUT_MS. */
  const holderOf = async (entry: Entry): Promise<ContainerIdentity | undefined> => {
    const address = asString(entry['source']);
    const last = time(entry['last'] ?? entry['at']);
    const first = time(entry['first'] ?? entry['at']);
    for (;;) {
      await watch.settled();
      const age = Date.now() - last;
      const late = age > EVENTS_TIMEOUT_MS || stopped;
      // Slack only when no more event is expected: an address goes to the next container within milliseconds.
      const slack = late ? CLOCK_TOLERANCE_MS : 0;
      const holder = age < EVENTS_DELAY_MS ? undefined : leases.holder(address, first, last, slack);
      if (holder !== undefined || late) return holder;
      await sleep(POLL_INTERVAL_MS, undefined, { ref: false });
    }
  };

  const take = async (entry: Entry): Promise<void> => {
    const container = asString(entry['source']) === '' ? undefined : await holderOf(entry);
    const event = eventOf(entry, container, container && creators.of(container.id));
    await record(event);
    if (container !== undefined) await answer(event, container);
  };

  const answer = async (event: EgressEvent, container: ContainerIdentity): Promise<void> => {
    const { action, minConfidence } = options.onHit;
    // A hit on the wire has an indicator; what a default-deny network refused has none.
    if (action === 'none' || event.indicator === '' || event.confidence < minConfidence) return;
    if (spared.some((matches) => matches(container.name))) return;
    let message: string;
    try {
      message = await respond(engine, action, container.id);
    } catch (error) {
      message = `failed: ${(error as Error).message}`;
      warn(`${action} of container ${container.name} ${message}`);
    }
    await record({ ...event, id: `${event.id}.r`, kind: 'response', action, message });
  };

  const reader = readAttempts(options.attempts, take, warn);
  return {
    creators,
    async stop() {
      stopped = true;
      watch.stop();
      await reader.stop();
      creators.close();
    },
  };
}

const number = (value: unknown): number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : 0;

/** Milliseconds since 1970; now, where there is no time. */
function time(value: unknown): number {
  const ms = Date.parse(asString(value));
  return Number.isNaN(ms) ? Date.now() : ms;
}

const KINDS = ['attempt', 'sweep', 'notice'] as const;

function eventOf(
  entry: Entry,
  container: EgressEvent['container'],
  createdBy: EgressEvent['createdBy'],
): EgressEvent {
  return {
    event: 'egress',
    id: asString(entry['id']),
    kind: KINDS.find((kind) => kind === entry['kind']) ?? 'notice',
    action: asString(entry['action']),
    via: asString(entry['via']),
    address: asString(entry['source']),
    container,
    createdBy,
    destination: asString(entry['destination']),
    name: asString(entry['name']),
    protocol: asString(entry['protocol']),
    port: number(entry['port']),
    count: number(entry['count']),
    first: asString(entry['first']),
    last: asString(entry['last']),
    indicator: asString(entry['indicator']),
    type: asString(entry['type']),
    feed: asString(entry['feed']),
    confidence: number(entry['confidence']),
    threat: asString(entry['threat']),
    message: asString(entry['message']),
  };
}

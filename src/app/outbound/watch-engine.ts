import { setTimeout as sleep } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { atMost } from '../../base/bounded.js';
import type { Abort } from '../../upstream/engine-call.js';
import type { Engine } from '../../upstream/engine.js';
import { requestEngine } from '../../upstream/request-engine.js';
import type { ContainerIdentity, Leases } from './leases.js';

/** Follows the engine's events for as long as the guard runs. */
export interface EngineWatch {
  /** The running containers are known and events up to now understood; or the engine cannot be asked. */
  settled(): Promise<void>;
  stop(): void;
}

const EVENTS = `/events?filters=${encodeURIComponent(JSON.stringify({ type: ['container', 'network'] }))}`;
const FIRST_RETRY_INTERVAL_MS = 500;
const MAX_RETRY_INTERVAL_MS = 10_000;
/** One event is a few hundred bytes; labels make it longer. */
const MAX_EVENT_LENGTH = 2 ** 20;

/**
 * Keeps the leases true: at first from the list of running containers, then from events. A container is asked for when
 * it joins its network, before its first process runs: one that lives for a tenth of a second is known too. It is the
 * network that is asked: the container itself does not answer while it starts.
 */
export function watchEngine(engine: Engine, leases: Leases, warn: (message: string) => void): EngineWatch {
  const identities = new LRUCache<string, ContainerIdentity>(atMost(65_536));
  let stopped = false;
  let abort: Abort | undefined;
  let begun = (): void => {};
  let work = new Promise<void>((resolve) => (begun = resolve));

  const listRunning = async (): Promise<void> => {
    const now = Date.now();
    const { status, body } = await requestEngine(engine, 'GET', '/containers/json');
    if (status !== 200) throw new Error(`the engine answered with status ${status} to GET /containers/json`);
    for (const { Id, Names, Image, NetworkSettings } of body as ListedContainer[]) {
      const container = { id: Id, name: (Names?.[0] ?? '').replace(/^\//, ''), image: Image ?? '' };
      identities.set(Id, container);
      for (const network of Object.values(NetworkSettings?.Networks ?? {})) {
        for (const address of [network.IPAddress, network.GlobalIPv6Address]) {
          if (address) leases.open(address, network.NetworkID ?? '', container, now);
        }
      }
    }
  };

  const joined = async (network: string, container: string, at: number): Promise<void> => {
    const { status, body } = await requestEngine(engine, 'GET', `/networks/${network}`);
    if (status !== 200) return;
    const endpoint = (body as InspectedNetwork).Containers?.[container];
    const identity = identities.get(container) ?? {
      id: container,
      name: endpoint?.Name ?? '',
      image: '',
    };
    for (const address of [endpoint?.IPv4Address, endpoint?.IPv6Address]) {
      if (address) leases.open(address.replace(/\/\d+$/, ''), network, identity, at);
    }
  };

  const understand = async ({ Type, Action, Actor, timeNano = 0 }: EngineEvent): Promise<void> => {
    const id = Actor?.ID ?? '';
    const attributes = Actor?.Attributes ?? {};
    const at = timeNano === 0 ? Date.now() : timeNano / 1e6;
    const container = attributes['container'] ?? '';
    switch (`${Type} ${Action}`) {
      case 'container create':
      case 'container start':
      case 'container rename':
        identities.set(id, { id, name: attributes['name'] ?? '', image: attributes['image'] ?? '' });
        break;
      case 'network connect':
        await joined(id, container, at);
        break;
      case 'network disconnect':
        leases.close(container, id, at);
        break;
      case 'container die':
        leases.close(id, undefined, at);
        break;
    }
  };

  /** Resolves when the stream has ended, for whatever reason. */
  const follow = (onOpen: () => void): Promise<string> =>
    new Promise((resolve) => {
      let rest = '';
      abort = engine.dispatch(
        {
          method: 'GET',
          target: EVENTS,
          headers: ['Host', 'docker'],
          body: undefined,
          upgrade: '',
          timeout: 0,
        },
        {
          onHeaders(status) {
            if (status === 200) onOpen();
          },
          onData(piece) {
            const lines = (rest + piece.toString()).split('\n');
            rest = lines.pop()!;
            for (const line of lines) {
              work = work.then(() => understand(JSON.parse(line) as EngineEvent)).catch(report);
            }
            if (rest.length > MAX_EVENT_LENGTH) rest = '';
            return true;
          },
          onComplete: () => resolve('the engine ended its events'),
          onError: (error) => resolve(error.message),
        },
      );
    });

  const report = (error: unknown): void => {
    if (!stopped) warn(`an event of the engine was not understood: ${(error as Error).message}`);
  };

  const run = async (): Promise<void> => {
    let retry = FIRST_RETRY_INTERVAL_MS;
    while (!stopped) {
      // Listening first, then the list: what starts in between is in one of the two.
      const ended = await follow(() => {
        retry = FIRST_RETRY_INTERVAL_MS;
        work = Promise.all([work, listRunning()]).then(() => {}, report);
        begun();
      });
      begun();
      if (stopped) return;
      warn(`events of the engine cannot be followed, next try in ${retry} ms: ${ended}`);
      await sleep(retry, undefined, { ref: false });
      retry = Math.min(MAX_RETRY_INTERVAL_MS, retry * 2);
    }
  };
  void run();

  return {
    settled: () => work,
    stop() {
      stopped = true;
      abort?.();
    },
  };
}

/** What is used of the engine's answers (moby api/types, api/types/events); all of it may be missing. */
interface ListedContainer {
  readonly Id: string;
  readonly Names?: readonly string[];
  readonly Image?: string;
  readonly NetworkSettings?: {
    readonly Networks?: Readonly<
      Record<string, { NetworkID?: string; IPAddress?: string; GlobalIPv6Address?: string }>
    >;
  };
}

interface InspectedNetwork {
  readonly Containers?: Readonly<
    Record<string, { Name?: string; IPv4Address?: string; IPv6Address?: string }>
  >;
}

interface EngineEvent {
  readonly Type?: string;
  readonly Action?: string;
  readonly Actor?: { readonly ID?: string; readonly Attributes?: Readonly<Record<string, string>> };
  readonly timeNano?: number;
}

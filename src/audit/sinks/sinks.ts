import type { Sender } from '../formats/format.js';
import { startDelivery, type SinkStatus } from './delivery.js';
import type { SinkConfig } from './sink.js';
import { openTransport } from './transports.js';

/** All receivers of a journal. */
export interface Sinks {
  /** The first record that is not delivered to every receiver yet; Infinity without receivers. */
  needed(): number;
  status(): SinkStatus[];
  /** There is something new in the journal. */
  wake(): void;
  /** Delivers what is there as far as it goes in this time (milliseconds). */
  stop(timeout: number): Promise<void>;
}

/**
 * Starts the senders. Each goes on from its own cursor, `cursor-NAME.json` beside the journal, without waiting for another.
 *
 * @param journal its directory, and the number of its last record.
 * @param warn called when a receiver fails, and when it works again.
 */
export function openSinks(
  configs: readonly SinkConfig[],
  journal: { readonly directory: string; readonly last: () => number },
  sender: Sender,
  warn: (message: string) => void,
): Sinks {
  const deliveries = configs.map((config) =>
    startDelivery({
      config,
      directory: journal.directory,
      sender,
      transport: openTransport(config, sender.host),
      warn,
    }),
  );
  return {
    needed: () => Math.min(Infinity, ...deliveries.map((delivery) => delivery.delivered() + 1)),
    status: () => deliveries.map((delivery) => delivery.status(journal.last())),
    wake() {
      for (const delivery of deliveries) delivery.wake();
    },
    async stop(timeout) {
      await Promise.all(deliveries.map((delivery) => delivery.stop(timeout)));
    },
  };
}

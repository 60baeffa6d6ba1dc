import type { HttpSinkType, SinkType } from '../../base/audit-names.js';
import type { Sender } from '../formats/format.js';
import { openDatagrams } from './datagram.js';
import { startDelivery, type SinkStatus } from './delivery.js';
import { counted, gelfDatagrams, syslogDatagrams, syslogMessage } from './frames.js';
import { openHttp } from './http.js';
import { openFile, openStdout } from './local.js';
import type { SinkConfig, Transport } from './sink.js';
import { openStream } from './stream.js';

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
      transport: TRANSPORTS[config.type](config, sender.host),
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

type Open = (config: SinkConfig, host: string) => Transport;

const isUdp = ({ url }: SinkConfig): boolean => url.startsWith('udp:');
const http =
  (type: HttpSinkType): Open =>
  (config, host) =>
    openHttp(config, type, host);

/** How each type of receiver is reached. */
const TRANSPORTS: Readonly<Record<SinkType, Open>> = {
  syslog(config, host) {
    const origin = { host, facility: config.facility };
    return isUdp(config)
      ? openDatagrams(config, (message) => syslogDatagrams(syslogMessage(message, origin)))
      : openStream(config, (message) => counted(syslogMessage(message, origin)));
  },
  gelf: (config) =>
    isUdp(config)
      ? openDatagrams(config, ({ text }) => gelfDatagrams(text))
      : openStream(config, ({ text }) => `${text}\0`),
  'splunk-hec': http('splunk-hec'),
  elasticsearch: http('elasticsearch'),
  loki: http('loki'),
  otlp: http('otlp'),
  sentinel: http('sentinel'),
  webhook: http('webhook'),
  file: (config) => openFile(config),
  stdout: (config) => openStdout(config),
};

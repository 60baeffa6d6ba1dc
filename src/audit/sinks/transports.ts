import { openDatagrams } from './datagram.js';
import { counted, gelfDatagrams, syslogDatagrams, syslogMessage } from './frames.js';
import { openHttp } from './http.js';
import { openFile, openStdout } from './local.js';
import type { HttpSinkType, SinkConfig, SinkType, Transport } from './sink.js';
import { openStream } from './stream.js';

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

export function openTransport(config: SinkConfig, host: string): Transport {
  return TRANSPORTS[config.type](config, host);
}

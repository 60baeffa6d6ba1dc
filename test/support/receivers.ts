import type { IncomingMessage, ServerResponse } from 'node:http';
import type { SinkConfig } from '../../src/audit/sinks/sink.js';

/** A post as it came. */
export interface Post {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** A product's endpoint: it reads strictly what its documentation says, and complains of anything else. */
export interface Product {
  readonly config: Partial<SinkConfig>;
  readonly path: string;
  /** The value of `authorization`. */
  readonly authorization: string;
  /** The records of a post. @throws Error where it is not what the product takes. */
  read(post: Post): string[];
  /** Answers a post whose records it has taken. */
  accept(response: ServerResponse, post: Post): void;
}

const must = (holds: boolean, what: string): void => {
  if (!holds) throw new Error(what);
};
const object = (value: unknown, keys: readonly string[], what: string): Record<string, unknown> => {
  must(
    typeof value === 'object' && value !== null && !Array.isArray(value),
    `${what} is no object: ${JSON.stringify(value)}`,
  );
  const unknown = Object.keys(value as object).filter((key) => !keys.includes(key));
  must(unknown.length === 0, `${what} has ${unknown.join(', ')}`);
  return value as Record<string, unknown>;
};
const list = (value: unknown, what: string): unknown[] => {
  must(Array.isArray(value) && value.length > 0, `${what} is no list, or empty`);
  return value as unknown[];
};
const text = (value: unknown, what: string): string => {
  must(typeof value === 'string' && value !== '', `${what} is no text`);
  return value as string;
};
const isType = (post: Post, type: string): void =>
  must(post.headers['content-type'] === type, `content type ${post.headers['content-type']}`);
const NANOSECONDS = /^1\d{18}$/;

const secret = { text: 'a-token-of-tests' };
/** Posts of one channel, counted as Splunk counts them. */
const channels = new Map<string, number>();

/** Objects one after the other, with or without white space in between. */
function concatenated(body: string): unknown[] {
  const found: unknown[] = [];
  let depth = 0;
  let from = 0;
  let isText = false;
  for (let at = 0; at < body.length; at++) {
    const char = body[at];
    if (isText) {
      if (char === '\\') at += 1;
      else if (char === '"') isText = false;
    } else if (char === '"') isText = true;
    else if (char === '{' && (depth += 1) === 1) from = at;
    else if (char === '}' && (depth -= 1) === 0) found.push(JSON.parse(body.slice(from, at + 1)));
    else if (depth === 0) must(/\s/.test(char!), `${char} between two events`);
  }
  must(depth === 0 && found.length > 0, 'events that do not end');
  return found;
}

function readHec(post: Post): string[] {
  return concatenated(post.body).map((one) => {
    const keys = ['time', 'host', 'source', 'sourcetype', 'index', 'event', 'fields'];
    const { time, event, index, sourcetype } = object(one, keys, 'event');
    must(typeof time === 'number' && time > 1.6e9 && time < 4e9, `time ${String(time)} is no epoch`);
    must(event !== undefined && event !== '', 'no event');
    must(index === 'audit' && sourcetype === 'breakwater:breakwater', 'index or source type');
    return JSON.stringify(event);
  });
}

export const PRODUCTS: Readonly<Record<string, Product>> = {
  'splunk-hec': {
    config: { type: 'splunk-hec', index: 'audit', token: secret },
    path: '/services/collector/event',
    authorization: `Splunk ${secret.text}`,
    read: readHec,
    accept: (response) => response.end('{"text":"Success","code":0}'),
  },
  'splunk-hec with acknowledgement': {
    config: { type: 'splunk-hec', index: 'audit', token: secret, acknowledge: true },
    path: '/services/collector/event',
    authorization: `Splunk ${secret.text}`,
    read(post) {
      const channel = post.headers['x-splunk-request-channel'];
      must(/^[0-9a-f-]{36}$/.test(String(channel)), 'no data channel');
      return readHec(post);
    },
    accept(response, post) {
      const channel = String(post.headers['x-splunk-request-channel']);
      const ackId = channels.get(channel) ?? 0;
      channels.set(channel, ackId + 1);
      response.end(JSON.stringify({ text: 'Success', code: 0, ackId }));
    },
  },
  elasticsearch: {
    config: { type: 'elasticsearch', token: secret },
    path: '/_bulk',
    authorization: `ApiKey ${secret.text}`,
    read(post) {
      isType(post, 'application/x-ndjson');
      must(post.body.endsWith('\n'), 'the body must end in a newline');
      const lines = post.body.slice(0, -1).split('\n');
      must(lines.length % 2 === 0, 'an action without a source');
      return lines.flatMap((line, at) => {
        if (at % 2 === 1) return [line];
        const { create } = object(JSON.parse(line), ['create'], 'action');
        const { _index, _id } = object(create, ['_index', '_id'], 'create');
        must(_index === 'breakwater-audit' && text(_id, '_id').length <= 512, 'index or id');
        return [];
      });
    },
    accept(response, post) {
      const items = post.body
        .split('\n')
        .filter((_, at) => at % 2 === 0)
        .filter((line) => line !== '')
        .map((line) => {
          const { _id } = (JSON.parse(line) as { create: { _id: string } }).create;
          return { create: { _index: 'breakwater-audit', _id, status: 201, result: 'created' } };
        });
      response.end(JSON.stringify({ took: 1, errors: false, items }));
    },
  },
  loki: {
    config: { type: 'loki', token: secret, labels: { site: 'lab' } },
    path: '/loki/api/v1/push',
    authorization: `Bearer ${secret.text}`,
    read(post) {
      isType(post, 'application/json');
      const { streams } = object(JSON.parse(post.body), ['streams'], 'body');
      return list(streams, 'streams').flatMap((one) => {
        const { stream, values } = object(one, ['stream', 'values'], 'stream');
        const labels = object(stream, ['service_name', 'host', 'site'], 'labels');
        for (const label of Object.values(labels)) text(label, 'label');
        return list(values, 'values').map((pair) => {
          const [time, line, ...rest] = list(pair, 'value');
          must(rest.length === 0 && NANOSECONDS.test(text(time, 'time')), `time ${String(time)}`);
          return text(line, 'line');
        });
      });
    },
    accept: (response) => response.writeHead(204).end(),
  },
  otlp: {
    config: { type: 'otlp', token: secret },
    path: '/v1/logs',
    authorization: `Bearer ${secret.text}`,
    read(post) {
      isType(post, 'application/json');
      const value = (one: unknown): string =>
        text(object(one, ['stringValue'], 'value')['stringValue'], 'text');
      const attribute = (one: unknown): [string, string] => {
        const { key, value: is } = object(one, ['key', 'value'], 'attribute');
        return [text(key, 'key'), value(is)];
      };
      const { resourceLogs } = object(JSON.parse(post.body), ['resourceLogs'], 'body');
      return list(resourceLogs, 'resourceLogs').flatMap((one) => {
        const { resource, scopeLogs } = object(one, ['resource', 'scopeLogs', 'schemaUrl'], 'resourceLogs');
        const attributes = object(resource, ['attributes'], 'resource')['attributes'];
        const names = new Map(list(attributes, 'attributes').map(attribute));
        must(names.get('service.name') === 'breakwater', 'service.name');
        return list(scopeLogs, 'scopeLogs').flatMap((inner) => {
          const { logRecords } = object(inner, ['scope', 'logRecords', 'schemaUrl'], 'scopeLogs');
          return list(logRecords, 'logRecords').map((record) => {
            const keys = [
              ...['timeUnixNano', 'observedTimeUnixNano', 'severityNumber', 'severityText'],
              ...['body', 'attributes', 'flags', 'traceId', 'spanId', 'eventName'],
            ];
            const log = object(record, keys, 'log record');
            must(NANOSECONDS.test(text(log['timeUnixNano'], 'time')), 'time');
            const severity = Number(log['severityNumber']);
            must(Number.isInteger(severity) && severity >= 1 && severity <= 24, 'severity');
            list(log['attributes'], 'attributes').forEach(attribute);
            return value(log['body']);
          });
        });
      });
    },
    accept: (response) => response.setHeader('content-type', 'application/json').end('{}'),
  },
  sentinel: {
    config: {
      type: 'sentinel',
      oauth: {
        url: '',
        id: 'client-id',
        secret: { text: 'a-client-secret' },
        scope: 'https://scope/.default',
      },
    },
    path: '/dataCollectionRules/dcr-1/streams/Custom-Breakwater',
    authorization: 'Bearer ',
    read(post) {
      isType(post, 'application/json');
      must(Buffer.byteLength(post.body) <= 1_000_000, 'more than 1 MB');
      return list(JSON.parse(post.body), 'body').map((one) => {
        must(typeof one === 'object' && one !== null, 'no object');
        return JSON.stringify(one);
      });
    },
    accept: (response) => response.writeHead(204).end(),
  },
  'webhook with an array': {
    config: { type: 'webhook', token: secret, headers: { 'X-Tenant': { text: 'audit' } } },
    path: '/hook',
    authorization: `Bearer ${secret.text}`,
    read(post) {
      isType(post, 'application/json');
      must(post.headers['x-tenant'] === 'audit', 'own header');
      return list(JSON.parse(post.body), 'body').map((one) => JSON.stringify(one));
    },
    accept: (response) => response.end('ok'),
  },
  'webhook with lines': {
    config: { type: 'webhook', token: secret, body: 'ndjson' },
    path: '/hook',
    authorization: `Bearer ${secret.text}`,
    read(post) {
      isType(post, 'application/x-ndjson');
      must(post.body.endsWith('\n'), 'no end');
      return post.body.slice(0, -1).split('\n');
    },
    accept: (response) => response.writeHead(202).end(),
  },
};

/** Splunk's answer to a request for acknowledgements: each number is reported once, then forgotten. */
export function acksOf(known: Map<string, Set<number>>, channel: string, body: string): string {
  const { acks } = object(JSON.parse(body), ['acks'], 'question');
  const indexed = known.get(channel) ?? new Set();
  const told: Record<string, boolean> = {};
  for (const id of list(acks, 'acks')) {
    must(Number.isInteger(id), 'an id that is no number');
    told[String(id)] = indexed.delete(id as number);
  }
  return JSON.stringify({ acks: told });
}

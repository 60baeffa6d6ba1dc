import { EnvHttpProxyAgent, request, type Dispatcher } from 'undici';
import { openAcknowledgements } from './acknowledgements.js';
import { HTTP_KINDS, parse, short } from './http-kinds.js';
import { readSecret, readTls, withoutSecrets } from './secret.js';
import {
  RetryLater,
  type HttpSinkType,
  type Outcome,
  type Outgoing,
  type Secret,
  type SinkConfig,
  type Transport,
} from './sink.js';

/** The longest that a receiver's wish to be left alone is honoured (ms). */
const MAX_RETRY_AFTER = 3_600_000;
/** An answer names each record at most. */
const MAX_ANSWER = 16 * 2 ** 20;
/** Bad data: the same post will not be taken later either. Anything else may be mended on the other side. */
const BAD_DATA = new Set([400, 413, 422]);
/** Posts made to find what is refused in one batch. */
const SEARCH = 40;

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly retryAfter: number;
}

/** Messages as posts. Certificates are always verified, redirects are not followed: the token stays with its receiver. */
export function openHttp(config: SinkConfig, type: HttpSinkType, host: string): Transport {
  const kind = HTTP_KINDS[type];
  const url = new URL(config.url);
  if (url.pathname === '/' && kind.path !== '') url.pathname = kind.path;
  let agent: Dispatcher | undefined;
  let bearer: { readonly token: string; readonly until: number } | undefined;
  /** Values in use: a receiver may repeat what it was sent, and none of it may get into the log. */
  const secrets = new Map<string, string>();
  const read = async (from: Secret, what: string): Promise<string> => {
    const value = await readSecret(from, what);
    secrets.set(what, value);
    return value;
  };
  const acknowledgements = config.acknowledge
    ? openAcknowledgements(config.timeout, async (channel, acks, signal) => {
        const to = new URL(`/services/collector/ack?channel=${channel}`, url);
        return post(to, await headersFor(signal), JSON.stringify({ acks }), signal);
      })
    : undefined;

  const connect = async (): Promise<Dispatcher> => {
    const tls = await readTls(config.tls);
    return (agent ??= new EnvHttpProxyAgent({
      connect: { ...tls, timeout: config.timeout },
      requestTls: tls,
      proxyTls: { rejectUnauthorized: true, ...(tls.ca === undefined ? {} : { ca: tls.ca }) },
      // Proxies open tunnels to ports of TLS alone, as a rule: what is plain goes as a plain request.
      proxyTunnel: false,
      ...(config.proxy === undefined
        ? {}
        : { httpProxy: config.proxy ?? '', httpsProxy: config.proxy ?? '' }),
      ...(typeof config.proxy === 'string' ? { noProxy: '' } : {}),
    }));
  };

  const post = async (
    to: URL,
    headers: Readonly<Record<string, string>>,
    body: string,
    signal: AbortSignal,
  ): Promise<Answer> => {
    const dispatcher = await connect();
    const late = AbortSignal.timeout(config.timeout);
    try {
      const answer = await request(to, {
        method: 'POST',
        dispatcher,
        signal: AbortSignal.any([late, signal]),
        headers: { 'user-agent': 'breakwater', ...headers },
        body,
      });
      const pieces: Buffer[] = [];
      let length = 0;
      for await (const piece of answer.body as AsyncIterable<Buffer>) {
        pieces.push(piece);
        if ((length += piece.length) > MAX_ANSWER) throw new Error(`answered more than ${MAX_ANSWER} bytes`);
      }
      const after = answer.headers['retry-after'];
      return {
        status: answer.statusCode,
        text: withoutSecrets(Buffer.concat(pieces).toString('utf8'), secrets.values()),
        retryAfter: retryAfter(String(after ?? '')),
      };
    } catch (error) {
      if (late.aborted) throw new Error(`no answer within "timeout", ${config.timeout} ms`);
      throw error;
    }
  };

  const headersFor = async (signal: AbortSignal): Promise<Record<string, string>> => {
    const headers: Record<string, string> = { 'content-type': kind.contentType };
    if (type === 'webhook' && config.body === 'ndjson') headers['content-type'] = 'application/x-ndjson';
    for (const [name, from] of Object.entries(config.headers)) {
      headers[name.toLowerCase()] = await read(from, `header ${name}`);
    }
    if (config.token !== undefined) {
      headers['authorization'] = `${kind.scheme} ${await read(config.token, 'token')}`;
    } else if (config.oauth !== undefined) headers['authorization'] = `Bearer ${await fetchToken(signal)}`;
    if (acknowledgements !== undefined) headers['x-splunk-request-channel'] = acknowledgements.channel();
    return headers;
  };

  /** A token for client credentials (RFC 6749, 4.4), kept until a minute before its end. */
  const fetchToken = async (signal: AbortSignal): Promise<string> => {
    if (bearer !== undefined && Date.now() < bearer.until) return bearer.token;
    const { url: from, id, secret, scope } = config.oauth!;
    const form = new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: id,
      client_secret: await read(secret, 'oauth.secret'),
      scope,
    });
    const type = { 'content-type': 'application/x-www-form-urlencoded' };
    const { status, text, retryAfter: after } = await post(new URL(from), type, form.toString(), signal);
    if (status !== 200) throw new RetryLater(`no token: ${new URL(from).host} answered ${status}`, after);
    const { access_token: token, expires_in: seconds } = tokenIn(text);
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
      throw new Error(`no token: the answer of ${new URL(from).host} holds none`);
    }
    secrets.set('bearer', token);
    bearer = { token, until: Date.now() + Math.max(0, (Number(seconds) || 0) * 1000 - 60_000) };
    return token;
  };

  /** @returns the status, 0 where there is none. */
  const retried = async (one: Outgoing, signal: AbortSignal): Promise<number> => {
    try {
      const answer = await post(url, await headersFor(signal), kind.body([one], config, host), signal);
      const isTaken = answer.status >= 200 && answer.status < 300;
      if (isTaken) acknowledgements?.posted(answer.text);
      return answer.status;
    } catch {
      return 0;
    }
  };

  /** One post of these messages, and smaller ones where they are refused together. */
  const deliver = async (messages: readonly Outgoing[], signal: AbortSignal): Promise<Outcome> => {
    const refused = new Map<Outgoing, string>();
    const again = new Map<Outgoing, string>();
    const suspects = new Map<Outgoing, string>();
    let unnamed: Outcome['unnamed'];
    let later = 0;
    let posts = 0;
    let taken = 0;
    const stack: (readonly Outgoing[])[] = parts(
      messages,
      (part) => kind.body(part, config, host),
      kind.limit,
    );
    stack.reverse();
    for (let part = stack.pop(); part !== undefined; part = stack.pop()) {
      if (later > 0 || posts - taken >= SEARCH) {
        for (const one of part) again.set(one, 'not tried yet');
        continue;
      }
      posts += 1;
      let answer: Answer;
      try {
        answer = await post(url, await headersFor(signal), kind.body(part, config, host), signal);
      } catch (error) {
        if (taken === 0) throw error;
        // What was taken before is not sent again for it.
        for (const one of part) again.set(one, (error as Error).message);
        later = 1;
        continue;
      }
      if (answer.status >= 200 && answer.status < 300) {
        taken += 1;
        acknowledgements?.posted(answer.text);
        const outcome = kind.judge?.(answer.text, part);
        for (const [one, why] of outcome?.refused ?? []) refused.set(one, why);
        for (const [one, why] of outcome?.again ?? []) again.set(one, why);
        if (outcome?.unnamed !== undefined) {
          const { count, reason } = outcome.unnamed;
          unnamed = { count: (unnamed?.count ?? 0) + count, reason };
        }
        if (outcome !== undefined && outcome.again.size > 0) later = Math.max(later, answer.retryAfter);
        continue;
      }
      const said = `answered ${answer.status}: ${short(answer.text)}`;
      if (answer.status === 401) bearer = undefined;
      if (!BAD_DATA.has(answer.status)) {
        if (taken === 0) throw new RetryLater(said, answer.retryAfter);
        for (const one of part) again.set(one, said);
        later = Math.max(1, answer.retryAfter);
      } else if (part.length === 1) suspects.set(part[0]!, said);
      else {
        const half = part.length >> 1;
        stack.push(part.slice(half), part.slice(0, half));
      }
    }
    // A receiver that takes nothing at all is set up wrongly: that is no reason to put the trail aside.
    if (taken === 0) throw new Error(`takes no record: ${[...suspects.values()][0] ?? 'all were refused'}`);
    // It may have been the receiver: asked once more, now that it takes others.
    for (const [one, said] of suspects) {
      const status = later > 0 ? 0 : await retried(one, signal);
      if (BAD_DATA.has(status)) refused.set(one, said);
      else if (status < 200 || status >= 300) again.set(one, said);
    }
    return { refused, again, ...(unnamed === undefined ? {} : { unnamed }), retryAfter: later };
  };

  return {
    send: deliver,
    ...(acknowledgements === undefined
      ? {}
      : { confirm: (signal: AbortSignal) => acknowledgements.confirm(signal) }),
    reset() {
      acknowledgements?.reset();
      const old = agent;
      // The CA and the certificate may be new by then.
      agent = undefined;
      old?.destroy().catch(() => undefined);
    },
    close: async () => agent?.destroy(),
  };
}

/** Splits messages so that no post is larger than the limit; one that is larger alone goes alone. */
function parts(
  messages: readonly Outgoing[],
  body: (part: readonly Outgoing[]) => string,
  limit: number,
): (readonly Outgoing[])[] {
  if (limit === 0 || messages.length < 2 || Buffer.byteLength(body(messages)) <= limit) return [messages];
  const half = messages.length >> 1;
  return [...parts(messages.slice(0, half), body, limit), ...parts(messages.slice(half), body, limit)];
}

/** The answer of a token endpoint. It is never told: there may be a token in it. */
function tokenIn(text: string): Readonly<Record<string, unknown>> {
  try {
    return parse(text);
  } catch {
    return {};
  }
}

/** Retry-After as milliseconds from now (RFC 9110, 10.2.3); 0 where there is none. */
function retryAfter(value: string): number {
  const ms = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), MAX_RETRY_AFTER) : 0;
}

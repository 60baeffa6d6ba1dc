import fc from 'fast-check';
import t from 'tap';
import type { Call, Client } from '../../src/docker/call.js';
import { NEWEST_API, OLDEST_API } from '../../src/docker/catalogue.js';
import { DECIDING } from '../../src/docker/http.js';
import { readCall, readHead, type HeadReading, type RequestHead } from '../../src/docker/read.js';
import { Refusal } from '../../src/docker/refusal.js';
import { renderBody, renderHeaders, renderTarget } from '../../src/docker/render.js';

const limits = { target: 8192, jsonDepth: 32, jsonBody: 1 << 20 };
const client: Client = { listener: 'test', address: '', port: 0, certificate: [], tokenSha256: '' };
const FORM = 'application/x-www-form-urlencoded';
const JSON_TYPE = 'application/json';
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

type Headers = readonly (readonly [name: string, value: string])[];
interface Sent {
  readonly method?: string;
  readonly target: string;
  readonly headers?: Headers;
  readonly body?: string | Uint8Array;
  readonly chunked?: boolean;
}

function headOf({ method = 'GET', target, headers = [], body, chunked }: Sent): RequestHead {
  const all = [['Host', 'docker'], ...headers];
  const length = typeof body === 'string' ? encode(body).length : (body?.length ?? 0);
  if (chunked === true) all.push(['Transfer-Encoding', 'chunked']);
  else if (body !== undefined) all.push(['Content-Length', String(length)]);
  return { method, target, rawHeaders: all.flat(), httpVersion: '1.1' };
}

function callOf(sent: Sent): Call {
  const reading = readHead(headOf(sent), limits);
  const bytes = typeof sent.body === 'string' ? encode(sent.body) : sent.body;
  return readCall(reading, reading.body === 'buffer' ? bytes : undefined, 'id', client, limits);
}

/** What the daemon gets: method, target, body. */
function written(sent: Sent): string {
  const call = callOf(sent);
  const body = renderBody(call);
  const text = body === undefined ? '' : ` ${body}`;
  return `${call.operation.method} ${renderTarget(call)}${text}`;
}

function refusalOf(run: () => unknown): Refusal {
  try {
    run();
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
  throw new Error('expected a refusal');
}

const post = (target: string, type?: string, body?: string, more: Headers = []): Sent => ({
  method: 'POST',
  target,
  headers: type === undefined ? more : [['Content-Type', type], ...more],
  ...(body === undefined ? {} : { body }),
});
const get = (target: string, ...headers: Headers): Sent => ({ target, headers });

t.test('targets that pass', async (t) => {
  const table: readonly (readonly [target: string, written: string])[] = [
    ['/_ping', '/_ping'],
    ['/v1.41/_ping', '/v1.41/_ping'],
    [`/v1.${OLDEST_API}/version`, `/v1.${OLDEST_API}/version`],
    [`/v1.${NEWEST_API}/version`, `/v1.${NEWEST_API}/version`],
    ['/v1.99/version', '/v1.99/version'],
    ['/version', '/version'],
    ['/volumes', '/volumes'],
    ['/v1.41/containers/json?', '/v1.41/containers/json'],
    ['/v1.41/%63ontainers/json', '/v1.41/containers/json'],
    ['/%76%31.41/containers%2fjson', '/v1.41/containers/json'],
    ['http://any.host:1/v1.41/containers/json?all=1', '/v1.41/containers/json?all=1'],
    ['HTTPS://h/_ping', '/_ping'],
    ['http://[::1]:2375/_ping', '/_ping'],
    ['http:///_ping', '/_ping'],
    ['/images/registry.example.com:5000/a/b:1/json', '/images/registry.example.com%3A5000/a/b%3A1/json'],
    ['/images/a%2Fb/json', '/images/a/b/json'],
    ['/containers/a\\b/json', '/containers/a%5Cb/json'],
    ['/containers/.hidden/json', '/containers/.hidden/json'],
    ['/containers/a..b/json', '/containers/a..b/json'],
    ['/containers/%2525/json', '/containers/%2525/json'],
    ['/containers/%c3%a9/json', '/containers/%C3%A9/json'],
    ['/containers/a+b/json', '/containers/a%2Bb/json'],
    ["/containers/!'()*~/json", '/containers/%21%27%28%29%2A~/json'],
  ];
  for (const [target, expected] of table) t.equal(written(get(target)), `GET ${expected}`, target);
});

t.test('targets that are refused', async (t) => {
  const table: readonly (readonly [method: string, target: string, status: number, code: string])[] = [
    ['GET', '', 400, 'target-form'],
    ['GET', '*', 400, 'target-form'],
    ['CONNECT', '127.0.0.66:8066', 400, 'target-form'],
    ['GET', 'ftp://h/_ping', 400, 'target-form'],
    ['GET', 'http://h', 400, 'target-form'],
    ['GET', 'http://h?/_ping', 400, 'target-form'],
    ['GET', 'http://user@h/_ping', 400, 'target-form'],
    ['GET', 'http:/_ping', 400, 'target-form'],
    ['GET', 'http://%2e/_ping', 400, 'target-form'],
    ['GET', 'http://[::1]:80x/_ping', 400, 'target-form'],
    ['GET', '_ping', 400, 'target-form'],
    ['GET', '//h/_ping', 400, 'path-segment'],
    ['GET', 'http://h//_ping', 400, 'path-segment'],
    ['GET', '/containers//json', 400, 'path-segment'],
    ['GET', '/containers/%2fjson', 400, 'path-segment'],
    ['POST', '/_ping/../containers/create', 400, 'path-segment'],
    ['POST', '/_ping/%2e%2E/containers/create', 400, 'path-segment'],
    ['POST', '/./containers/create', 400, 'path-segment'],
    ['POST', '/containers/create/.', 400, 'path-segment'],
    ['POST', '/containers/create/..', 400, 'path-segment'],
    ['POST', '/containers/create/', 404, 'unknown-operation'],
    ['POST', '/Containers/create', 404, 'unknown-operation'],
    ['POST', '/containers/create%20', 405, 'method-not-allowed'],
    ['POST', '/build%20', 404, 'unknown-operation'],
    ['POST', '/containers/create%00', 400, 'path-character'],
    ['POST', '/containers/create%0a', 400, 'path-character'],
    ['POST', '/containers/create%7f', 400, 'path-character'],
    ['POST', '/containers/create%zz', 400, 'path-encoding'],
    ['POST', '/containers/create%', 400, 'path-encoding'],
    ['POST', '/containers/%ff/start', 400, 'path-encoding'],
    ['POST', '/containers/%c0%af/start', 400, 'path-encoding'],
    ['POST', '/containers/create#x', 400, 'target-fragment'],
    ['GET', '/_ping?a#b', 400, 'target-fragment'],
    ['GET', '/_ping\t', 400, 'target-character'],
    ['GET', '/_ping x', 400, 'target-character'],
    ['GET', '/containers/\u00e9/json', 400, 'target-character'],
    ['GET', '/_ping?a=\u00e9', 400, 'target-character'],
    ['GET', '/', 404, 'unknown-operation'],
    ['GET', '/v1.41', 404, 'unknown-operation'],
    ['GET', '/v1.41/', 404, 'unknown-operation'],
    ['GET', '/v/_ping', 404, 'unknown-operation'],
    ['GET', '/v1x41/_ping', 404, 'unknown-operation'],
    ['GET', '/V1.41/_ping', 404, 'unknown-operation'],
    ['GET', '/debug/vars', 404, 'unknown-operation'],
    ['GET', '/v1.41.0.0/_ping', 400, 'api-version'],
    ['GET', '/v01.041/_ping', 400, 'api-version'],
    ['GET', '/v1.41./_ping', 400, 'api-version'],
    ['GET', '/v1.041/_ping', 400, 'api-version'],
    ['GET', '/v1/_ping', 400, 'api-version'],
    ['GET', '/v2.0/_ping', 400, 'api-version'],
    ['GET', '/v.1.41/_ping', 400, 'api-version'],
    ['GET', '/v1.41/v1.41/_ping', 404, 'unknown-operation'],
    ['POST', '/v1.99/containers/create', 400, 'api-version'],
    ['GET', `/v1.${OLDEST_API - 1}/_ping`, 400, 'api-version'],
    ['POST', `/v1.${NEWEST_API + 1}/containers/c/start`, 400, 'api-version'],
    ['PUT', '/containers/create', 405, 'method-not-allowed'],
    ['HEAD', '/v1.41/containers/json', 405, 'method-not-allowed'],
    ['OPTIONS', '/containers/json', 405, 'method-not-allowed'],
    ['get', '/_ping', 405, 'method-not-allowed'],
    ['GET', `/containers/${'a'.repeat(9000)}/json`, 414, 'target-too-long'],
  ];
  for (const [method, target, status, code] of table) {
    const refusal = refusalOf(() => callOf({ method, target }));
    t.equal(refusal.code, code, `${method} ${target.slice(0, 60)}`);
    t.equal(refusal.status, status, refusal.message);
    t.ok(refusal.message.length < 300);
  }
  t.match(
    refusalOf(() => callOf(post('/v1.99/containers/c/start'))).message,
    `1.${OLDEST_API} to 1.${NEWEST_API}`,
  );
});

t.test('operations come and go with the version', async (t) => {
  t.equal(refusalOf(() => callOf(post('/v1.30/session'))).status, 404);
  t.equal(callOf(post('/v1.39/session', undefined, undefined, [['Upgrade', 'h2c']])).operation.id, 'Session');
  t.equal(callOf({ method: 'HEAD', target: '/_ping' }).operation.method, 'HEAD');
});

t.test('query', async (t) => {
  const table: readonly (readonly [query: string, written: string])[] = [
    ['all=1', 'all=1'],
    ['all=true', 'all=1'],
    ['all=banana', 'all=1'],
    ['all=+True+', 'all=1'],
    ['all=0', 'all=0'],
    ['all=%20No%0a', 'all=0'],
    ['all=FALSE', 'all=0'],
    ['all=none', 'all=0'],
    ['all', 'all=0'],
    ['all=%EF%BB%BFno', 'all=1'],
    ['%61ll=1', 'all=1'],
    ['limit=5', 'limit=5'],
    ['limit=%2B05', 'limit=5'],
    ['limit=-1', 'limit=-1'],
    ['limit=', ''],
    ['limit=9223372036854775807', 'limit=9223372036854775807'],
    ['&&all=1&', 'all=1'],
    ['size=1&all=1', 'all=1&size=1'],
    ['unknown=', ''],
    ['unknown', ''],
    ['filters=', ''],
    ['filters=%7B%22label%22%3A%5B%22a%3Db%22%5D%7D', 'filters=%7B%22label%22%3A%5B%22a%3Db%22%5D%7D'],
    ['filters={"label":{"a":true}}', 'filters=%7B%22label%22%3A%7B%22a%22%3Atrue%7D%7D'],
    ['filters={%20"a":[]%20}', 'filters=%7B%22a%22%3A%5B%5D%7D'],
    ['filters=null', 'filters=%7B%7D'],
    ['filters={"l\\u0061bel":["\\u00e9"]}', 'filters=%7B%22label%22%3A%5B%22%C3%A9%22%5D%7D'],
  ];
  for (const [query, expected] of table) {
    const suffix = expected === '' ? '' : `?${expected}`;
    t.equal(written(get(`/containers/json?${query}`)), `GET /containers/json${suffix}`, query);
  }
});

t.test('query: refused', async (t) => {
  const table: readonly (readonly [query: string, code: string])[] = [
    ['all=1&all=0', 'duplicate-parameter'],
    ['all=1&%61ll=1', 'duplicate-parameter'],
    ['x=&x=', 'duplicate-parameter'],
    ['all=1;limit=5', 'query-separator'],
    ['%zz=1&a;b', 'query-separator'],
    ['all=%zz', 'query-encoding'],
    ['all=%', 'query-encoding'],
    ['%zz=1', 'query-encoding'],
    ['all=%ff', 'query-encoding'],
    ['all=%ed%a0%80', 'query-encoding'],
    ['all=%00', 'query-character'],
    ['limit=1.5', 'parameter-type'],
    ['limit=0x10', 'parameter-type'],
    ['limit=1_0', 'parameter-type'],
    ['limit=%205', 'parameter-type'],
    ['limit=9223372036854775808', 'parameter-type'],
    ['limit=--1', 'parameter-type'],
    ['filters={', 'invalid-json'],
    ['filters={"a":["x"],"a":["y"]}', 'duplicate-key'],
    ['filters={"a":["x"]}{}', 'invalid-json'],
    ['filters={"a":"x"}', 'filters'],
    ['filters={"a":[1]}', 'filters'],
    ['filters={"a":{"x":false}}', 'filters'],
    ['filters={"a":["x"],"b":{"y":true}}', 'filters'],
    ['filters=[]', 'json-type'],
    [Array.from({ length: 1025 }, (_, index) => `x${index}=`).join('&'), 'too-many-parameters'],
  ];
  for (const [query, code] of table) {
    const refusal = refusalOf(() => callOf(get(`/containers/json?${query}`)));
    t.equal(refusal.code, code, query.slice(0, 60));
    t.equal(refusal.status, 400);
  }
});

t.test('unknown parameters are hazards, and rendered only with the call that policy permits', async (t) => {
  const call = callOf(get('/containers/json?ALL=1&b%3D=x%26'));
  t.same(call.unknown, [
    { where: '?ALL', value: '1' },
    { where: '?b=', value: 'x&' },
  ]);
  t.equal(renderTarget(call), '/containers/json?ALL=1&b%3D=x%26');
  t.same(
    callOf(get('/containers/json?__proto__=1&constructor=2')).unknown.map(({ where }) => where),
    ['?__proto__', '?constructor'],
  );
});

t.test('build parameters', async (t) => {
  t.equal(
    written(post('/build?t=b:1&t=a:2&remote=&rm=&nocache=true')),
    'POST /build?nocache=1&remote=&t=b%3A1&t=a%3A2',
    'tags keep their order, an empty rm means the default',
  );
  t.equal(
    written(post('/build?buildargs=%7B%22A%22%3Anull%2C%22B%22%3A%22%5Cu0063%22%7D')),
    'POST /build?buildargs=%7B%22A%22%3Anull%2C%22B%22%3A%22c%22%7D',
    'a build argument without a value stays one',
  );
  t.equal(refusalOf(() => callOf(post('/build?remote=%zz&remote=http://h/x'))).code, 'query-encoding');
  t.equal(
    refusalOf(() => callOf(post('/build?buildargs={"A":"1"}&buildargs={}'))).code,
    'duplicate-parameter',
  );
  t.equal(refusalOf(() => callOf(post('/build?buildargs={"A":1}'))).code, 'json-type');
});

t.test('form bodies become query parameters', async (t) => {
  const rename = '/containers/c/rename';
  t.equal(written(post(rename, FORM, 'name=b')), 'POST /containers/c/rename?name=b');
  t.equal(
    written(post(rename, ` ${FORM.toUpperCase()} ; =; x`, 'name=b')),
    'POST /containers/c/rename?name=b',
    'as Go reads the type',
  );
  t.equal(written(post(`${rename}?name=a`, FORM, '')), 'POST /containers/c/rename?name=a');
  t.equal(
    written({ ...post(rename, FORM, 'name=%C3%A9+'), chunked: true }),
    'POST /containers/c/rename?name=%C3%A9%20',
  );
  t.equal(
    written(post('/containers/c/attach?stdout=1', FORM, 'stdin=1')),
    'POST /containers/c/attach?stdin=1&stdout=1',
  );
  t.same(callOf(post(rename, FORM, 'name=a&foo=b')).unknown, [{ where: '?foo', value: 'b' }]);

  const refused: readonly (readonly [Sent, number, string])[] = [
    [post(`${rename}?name=ci-ok`, FORM, 'name=evil'), 400, 'duplicate-parameter'],
    [post(`${rename}?foo=`, FORM, 'foo=1'), 400, 'duplicate-parameter'],
    [post(rename, FORM, 'name=a&name=b'), 400, 'duplicate-parameter'],
    [post(rename, FORM, 'name=a;name=b'), 400, 'query-separator'],
    [post(rename, FORM, 'name=%zz'), 400, 'query-encoding'],
    [{ ...post(rename, FORM), body: Uint8Array.of(0x6e, 0x3d, 0xff) }, 400, 'invalid-utf8'],
    [post(rename, FORM, `name=${'a'.repeat(70_000)}`), 413, 'body-too-large'],
    [{ ...post(rename, FORM, `name=${'a'.repeat(70_000)}`), chunked: true }, 413, 'body-too-large'],
    [post(rename, 'multipart/form-data; boundary=b', '--b--'), 415, 'multipart'],
    [post(rename, 'Multipart/Mixed', ''), 415, 'multipart'],
    [post(rename, 'text/plain', 'name=b'), 400, 'unexpected-body'],
    [post(rename, undefined, 'name=b'), 400, 'unexpected-body'],
    [post(rename, 'nonsense', 'name=b'), 400, 'content-type'],
    [{ ...post('/containers/c', FORM, 'force=1'), method: 'DELETE' }, 400, 'unexpected-body'],
    [post('/build?t=a', FORM, `x=${'y'.repeat(5000)}&remote=http://h/x`), 415, 'form-body'],
    [post('/build?t=a', `\t ${FORM} \t;`, 'remote=http://h/x'), 415, 'form-body'],
    [post('/build?t=a', 'multipart/form-data; boundary=b', 'x'), 415, 'multipart'],
    [post('/images/create', FORM, 'fromImage=alpine'), 415, 'form-body'],
    [post('/containers/create', FORM, 'Image=alpine'), 415, 'content-type'],
  ];
  for (const [sent, status, code] of refused) {
    const refusal = refusalOf(() => callOf(sent));
    t.equal(refusal.code, code, JSON.stringify(sent).slice(0, 100));
    t.equal(refusal.status, status);
  }
});

t.test('bodies of operations that read none', async (t) => {
  const prune = '/containers/prune';
  t.equal(written(post(prune, JSON_TYPE, '{}')), 'POST /containers/prune');
  t.equal(written(post(prune, JSON_TYPE, 'null')), 'POST /containers/prune');
  t.equal(
    written(post('/containers/c/stop?t=1', JSON_TYPE, '{"t":1,"x":null}')),
    'POST /containers/c/stop?t=1',
  );
  t.same(callOf(post('/containers/c/stop?t=1', JSON_TYPE, '{"t":1}')).unknown, []);
  t.equal(
    written({ ...post(prune, undefined, ''), chunked: true }),
    'POST /containers/prune',
    'an empty chunked body',
  );
  t.same(
    callOf(post('/v1.24/containers/c/start', JSON_TYPE, '{"Binds":["/:/h"]}')).unknown,
    [{ where: '/Binds', value: ['/:/h'] }],
    'a HostConfig on start',
  );
  t.equal(
    written(post('/containers/c/start', JSON_TYPE, '{"Binds":["/:/h"]}')),
    'POST /containers/c/start',
    'is never sent on',
  );
  t.equal(refusalOf(() => callOf(post(prune, JSON_TYPE, '[]'))).code, 'json-type');
  t.equal(refusalOf(() => callOf(post(prune, JSON_TYPE, '{"a":1,"A":2}'))).code, 'duplicate-key');
  t.equal(refusalOf(() => callOf({ target: '/_ping', body: 'POST / HTTP/1.1' })).code, 'unexpected-body');
  t.equal(refusalOf(() => callOf({ target: '/_ping', chunked: true })).code, 'unexpected-body');
  t.equal(callOf({ target: '/_ping', body: '' }).body.kind, 'none');
});

t.test('JSON bodies', async (t) => {
  const create = '/containers/create';
  const body = '{"image":"alpine","HostConfig":{"Memory":9007199254740993},"Tty":null}';
  const canonical = `POST ${create} {"Image":"alpine","HostConfig":{"Memory":9007199254740993}}`;
  for (const type of [
    JSON_TYPE,
    'Application/JSON',
    `${JSON_TYPE}; charset=utf-8`,
    `${JSON_TYPE};charset="UTF-8";`,
    `${JSON_TYPE} ; x=y`,
  ]) {
    t.equal(written(post(create, type, body)), canonical, type);
  }
  t.equal(written({ ...post(create, JSON_TYPE, body), chunked: true }), canonical);
  const refused: readonly (readonly [Sent, number, string])[] = [
    [post(create, undefined, body), 415, 'content-type'],
    [post(create, 'text/plain', body), 415, 'content-type'],
    [post(create, 'application/jsonx', body), 415, 'content-type'],
    [post(create, 'application/json/x', body), 400, 'content-type'],
    [post(create, 'application/json,text/plain', body), 400, 'content-type'],
    [post(create, 'application/json; charset=utf-16', body), 415, 'charset'],
    [post(create, 'application/json; charset*0=utf-7', body), 415, 'charset'],
    [post(create, 'application/json; charset=utf-8; charset=utf-7', body), 400, 'content-type'],
    [post(create, 'application/json; nonsense', body), 400, 'content-type'],
    [post(create, JSON_TYPE, body, [['Content-Encoding', 'gzip']]), 415, 'content-encoding'],
    [post(create, JSON_TYPE), 400, 'missing-body'],
    [post(create, JSON_TYPE, ''), 400, 'missing-body'],
    [{ ...post(create, JSON_TYPE, ''), chunked: true }, 400, 'missing-body'],
    [post(create, JSON_TYPE, '{"HostConfig":{},"hostConfig":{"Privileged":true}}'), 400, 'duplicate-key'],
    [post(create, JSON_TYPE, `${body}{}`), 400, 'invalid-json'],
    [post('/services/create', 'text/plain', '{"Name":"x"}'), 415, 'content-type'],
  ];
  for (const [sent, status, code] of refused) {
    const refusal = refusalOf(() => callOf(sent));
    t.equal(refusal.code, code, JSON.stringify(sent).slice(0, 100));
    t.equal(refusal.status, status);
  }
  t.equal(callOf(post(create, JSON_TYPE, body, [['Content-Encoding', 'identity']])).body.kind, 'json');
  const unknown = callOf(post(create, JSON_TYPE, '{"Image":"a","HostConfig":{"Brand":{"New":1}}}'));
  t.same(
    unknown.unknown.map(({ where }) => where),
    ['/HostConfig/Brand'],
  );
});

t.test('streams', async (t) => {
  for (const type of [
    undefined,
    'application/x-tar',
    'application/octet-stream',
    'text/plain',
    'application/json',
  ]) {
    const call = callOf(post('/build?t=a', type, 'tar'));
    t.same(call.body, { kind: 'stream', contentType: 'application/x-tar', present: true }, String(type));
    t.equal(renderBody(call), undefined);
    t.match(renderHeaders(call).join('|'), /Content-Type\|application\/x-tar/);
  }
  const pull = callOf(post('/images/create?fromImage=alpine&tag=3', FORM, ''));
  t.equal(pull.body.kind === 'stream' && pull.body.present, false, 'curl -d "" sends a form type');
  t.same(renderHeaders(pull), ['Host', 'docker']);
});

t.test('framing', async (t) => {
  const read = (headers: Headers, httpVersion = '1.1'): HeadReading =>
    readHead({ method: 'POST', target: '/build', rawHeaders: headers.flat(), httpVersion }, limits);
  const host = ['Host', 'd'] as const;
  t.same(read([host]).framing, { kind: 'none' });
  t.same(read([host, ['Content-Length', '0']]).framing, { kind: 'none' });
  t.same(read([host, ['content-length', '0012']]).framing, { kind: 'length', length: 12 });
  t.same(read([host, ['Content-Length', '9007199254740991']]).framing.kind, 'length');
  t.same(read([host, ['TRANSFER-ENCODING', 'Chunked']]).framing, { kind: 'chunked' });
  t.same(read([['Content-Length', '3']], '1.0').framing, { kind: 'length', length: 3 });
  t.equal(read([host, ['Expect', '100-Continue']]).expectContinue, true);
  t.equal(read([host, ['Authorization', 'bearer  a.b-c=']]).bearerToken, 'a.b-c=');
  t.equal(read([host, ['Authorization', 'Basic eA==']]).bearerToken, '');
  t.equal(read([host, ['Upgrade', 'a, b'], ['Connection', 'upgrade']]).upgrade, '', 'ignored on a build');
  const refused: readonly (readonly [Headers, number, string, string?])[] = [
    [[], 400, 'host'],
    [[host, host], 400, 'duplicate-header'],
    [[host, ['Content-Length', '3'], ['Content-Length', '3']], 400, 'duplicate-header'],
    [[host, ['Content-Length', '3'], ['content-length', '4']], 400, 'duplicate-header'],
    [[host, ['Content-Length', '0, 0']], 400, 'framing'],
    [[host, ['Content-Length', '+3']], 400, 'framing'],
    [[host, ['Content-Length', '-3']], 400, 'framing'],
    [[host, ['Content-Length', '0x3']], 400, 'framing'],
    [[host, ['Content-Length', '']], 400, 'framing'],
    [[host, ['Content-Length', '3 ']], 400, 'framing'],
    [[host, ['Content-Length', '9007199254740993']], 400, 'framing'],
    [[host, ['Content-Length', '99999999999999999999']], 400, 'framing'],
    [[host, ['Content-Length', '3'], ['Transfer-Encoding', 'chunked']], 400, 'framing'],
    [[host, ['Transfer-Encoding', 'chunked, identity']], 400, 'framing'],
    [[host, ['Transfer-Encoding', 'gzip, chunked']], 400, 'framing'],
    [[host, ['Transfer-Encoding', 'identity']], 400, 'framing'],
    [[host, ['Transfer-Encoding', '\x0bchunked']], 400, 'header-character'],
    [[host, ['Transfer-Encoding', 'xchunked']], 400, 'framing'],
    [[host, ['Transfer-Encoding', '']], 400, 'framing'],
    [[host, ['Transfer-Encoding', 'chunked'], ['Transfer-Encoding', 'chunked']], 400, 'duplicate-header'],
    [[host, ['Transfer-Encoding ', 'chunked']], 400, 'header-character'],
    [[host, ['X', 'a\nTransfer-Encoding: chunked']], 400, 'header-character'],
    [[host, ['X', 'a\0']], 400, 'header-character'],
    [[host, ['', 'x']], 400, 'header-character'],
    [[host, ['Transfer-Encoding', 'chunked']], 400, 'framing', '1.0'],
    [[host], 505, 'http-version', '1.9'],
    [[host], 505, 'http-version', '2.0'],
    [[host], 505, 'http-version', '0.9'],
    [[host, ['Expect', '200-ok']], 417, 'expectation'],
    [[host, ['Expect', '100-continue'], ['Expect', '100-continue']], 400, 'duplicate-header'],
    [[host, ['Content-Type', 'a/b'], ['Content-Type', 'a/b']], 400, 'duplicate-header'],
    [[host, ['Authorization', 'Bearer a'], ['Authorization', 'Bearer b']], 400, 'duplicate-header'],
    [[host, ['Upgrade', 'tcp'], ['Upgrade', 'tcp']], 400, 'duplicate-header'],
    [[host, ['Content-Encoding', 'gzip']], 415, 'content-encoding'],
    [[host, ['X-Registry-Config', 'e30='], ['x-registry-config', 'e30=']], 400, 'duplicate-header'],
  ];
  for (const [headers, status, code, version] of refused) {
    const refusal = refusalOf(() => read(headers, version));
    t.equal(refusal.code, code, JSON.stringify(headers));
    t.equal(refusal.status, status);
  }
});

t.test('every header that decides how a request is read comes once, in any case', async (t) => {
  const values: Readonly<Record<(typeof DECIDING)[number], string>> = {
    host: 'docker',
    expect: '100-continue',
    upgrade: 'tcp',
    'content-type': 'a/b',
    authorization: 'Bearer a',
    'content-length': '3',
    'content-encoding': 'identity',
    'transfer-encoding': 'chunked',
  };
  t.same([...DECIDING].sort(), Object.keys(values).sort());
  t.equal(new Set(DECIDING.map(({ length }) => length)).size, DECIDING.length, 'the length tells them apart');
  for (const name of DECIDING) {
    const host = name === 'host' ? [] : ['Host', 'docker'];
    const read = (...more: readonly string[]): HeadReading =>
      readHead(
        { method: 'POST', target: '/build', rawHeaders: [...host, ...more], httpVersion: '1.1' },
        limits,
      );
    t.doesNotThrow(() => read(name, values[name]), name);
    const refusal = refusalOf(() => read(name, values[name], name.toUpperCase(), values[name]));
    t.equal(refusal.code, 'duplicate-header', name);
  }
});

t.test('upgrades', async (t) => {
  const attach = '/containers/c/attach?stream=1';
  t.equal(callOf(post(attach)).upgrade, '');
  t.equal(
    callOf(post(attach, undefined, '', [['Upgrade', 'TCP']])).upgrade,
    'tcp',
    'whatever Connection says',
  );
  const chunked = readHead(
    headOf({ ...post(attach, undefined, undefined, [['Upgrade', 'tcp']]), chunked: true }),
    limits,
  );
  t.same([chunked.body, chunked.framing.kind], ['none', 'none'], 'a chunked body that is never started');
  for (const value of ['tcp, h2c', 'tcp h2c', '', ',']) {
    t.equal(
      refusalOf(() => callOf(post(attach, undefined, '', [['Upgrade', value]]))).code,
      'upgrade',
      value,
    );
  }
});

t.test('headers', async (t) => {
  const auth = (value: string): Sent =>
    post('/images/create?fromImage=a', undefined, '', [
      ['X-Registry-Auth', value],
      ['Cookie', 'a=b'],
      ['User-Agent', 'x'],
    ]);
  for (const target of ['/images/create?fromImage=a', '/images/a/push', '/plugins/pull?remote=a']) {
    const call = post(target, undefined, '', [['x-meta-foo', 'bar']]);
    t.equal(refusalOf(() => callOf(call)).code, 'registry-header', target);
  }
  const json = '{"Username":"u\u00ff\u00fe>?","password":"p","extra":"x","email":null}';
  const canonical = '{"username":"u\u00ff\u00fe>?","password":"p"}';
  const base64 = Buffer.from(json).toString('base64');
  const expected = Buffer.from(canonical).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
  for (const value of [base64, Buffer.from(json).toString('base64url'), base64.replace(/=+$/, '')]) {
    t.same(renderHeaders(callOf(auth(value))), ['Host', 'docker', 'x-registry-auth', expected], value);
  }
  t.same(renderHeaders(callOf(auth('bnVsbA=='))), ['Host', 'docker', 'x-registry-auth', 'e30=']);
  t.same(renderHeaders(callOf(auth(''))), ['Host', 'docker']);
  for (const value of [
    '*',
    'e30',
    'e',
    'eyJ',
    'W10=',
    Buffer.from('{"username":1}').toString('base64'),
    Buffer.from('{"password":"a","Password":"b"}').toString('base64'),
  ]) {
    if (value === 'e30') t.equal(callOf(auth(value)).headers['x-registry-auth'], 'e30=');
    else t.equal(refusalOf(() => callOf(auth(value))).code, 'registry-auth', value);
  }
  const config = Buffer.from('{"r.example":{"username":"u","x":1}}').toString('base64url');
  const call = callOf(post('/build', undefined, 'x', [['X-Registry-Config', config]]));
  t.equal(
    Buffer.from(call.headers['x-registry-config'] ?? '', 'base64url').toString(),
    '{"r.example":{"username":"u"}}',
  );
  t.equal(callOf(get('/containers/json', ['X-Registry-Auth', 'e30='])).headers['x-registry-auth'], undefined);
});

t.test('time is linear in the size', async (t) => {
  const roomy = { ...limits, target: 1 << 20 };
  const size = 1 << 19;
  const targets: Record<string, string> = {
    blanks: `/containers/json?all=x${'+'.repeat(size)}x`,
    pairs: `/containers/json?${'&'.repeat(size)}`,
    escapes: `/containers/json?all=${'%20'.repeat(size / 3)}`,
    segments: `/images/${'a/'.repeat(size / 2)}json`,
    suffixes: `/containers/${'json/'.repeat(size / 5)}x`,
    dots: `/images/${'.a/'.repeat(size / 3)}json`,
    digits: `/v${'1.'.repeat(size / 2)}/_ping`,
    integer: `/containers/json?limit=${'9'.repeat(size)}`,
  };
  const headers: Record<string, readonly [string, string]> = {
    'content type': ['Content-Type', `application/json${' ; a=b'.repeat(size / 6)}`],
    'blank content type': ['Content-Type', `application/json;${' '.repeat(size)}x`],
    bearer: ['Authorization', `Bearer ${' '.repeat(size)}x!`],
    auth: ['X-Registry-Auth', `${'='.repeat(size)}x`],
    upgrade: ['Upgrade', `${'a/'.repeat(size / 2)}`],
  };
  const time = (name: string, sent: Sent): void => {
    const start = performance.now();
    try {
      const reading = readHead(headOf(sent), roomy);
      renderTarget(readCall(reading, undefined, 'id', client, roomy));
    } catch (error) {
      t.ok(error instanceof Refusal && error.message.length < 400, name);
    }
    t.ok(performance.now() - start < 1000, `${name}: ${Math.round(performance.now() - start)} ms`);
  };
  for (const [name, target] of Object.entries(targets)) time(name, { target });
  for (const [name, header] of Object.entries(headers)) {
    time(name, post('/images/create', undefined, undefined, [header]));
    time(name, post('/containers/create', undefined, '{}', [header]));
    time(name, post('/session', undefined, undefined, [header]));
  }
});

t.test('properties', async () => {
  const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 });
  // INVARIANT: what is written reads as the same call.
  fc.assert(
    fc.property(
      text,
      text,
      fc.boolean(),
      fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
      (name, value, all, limit) => {
        const target = `/containers/json?all=${all}&limit=${limit}&before=${encodeURIComponent(value)}&${encodeURIComponent(name)}=x`;
        let call: Call;
        try {
          call = callOf(get(target));
        } catch (error) {
          return error instanceof Refusal;
        }
        const again = callOf(get(renderTarget(call)));
        return renderTarget(again) === renderTarget(call);
      },
    ),
    { numRuns: 300 },
  );
  const piece = fc.constantFrom(
    '/',
    '.',
    '..',
    '%2f',
    '%2e',
    '%',
    '%00',
    'v1.41',
    'v1.41.',
    'containers',
    'json',
    'images',
    'a',
    'exec',
    'start',
    '?',
    '&',
    '=',
    'all',
    'filters',
    '{',
    '"',
    '#',
    ';',
    '+',
    'http://',
    '\\',
    '\u00e9',
  );
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 14 }),
      fc.constantFrom('GET', 'POST', 'DELETE', 'HEAD', 'PUT'),
      (pieces, method) => {
        const target = `/${pieces.join('')}`;
        let call: Call;
        try {
          call = callOf({ method, target });
        } catch (error) {
          return error instanceof Refusal;
        }
        const again = callOf({ method, target: renderTarget(call) });
        return again.operation === call.operation && renderTarget(again) === renderTarget(call);
      },
    ),
    { numRuns: 2000 },
  );
});

import t from 'tap';
import type { Call, Client } from '../../src/docker/call.js';
import { readCall, readHead } from '../../src/docker/read.js';
import { renderTarget } from '../../src/docker/render.js';

const limits = { target: 8192, jsonDepth: 32, jsonBody: 1 << 20 };
const client: Client = { listener: 'test', address: '', port: 0, certificate: [], tokenSha256: '' };

function callOf(method: string, target: string): Call {
  const reading = readHead({ method, target, rawHeaders: ['Host', 'docker'], httpVersion: '1.1' }, limits);
  return readCall(reading, undefined, 'id', client, limits);
}

// A call may be changed after it was read: ids stand in place of names, a policy rewrites an image.
const changed = (call: Call, path: Record<string, string>): Call => ({
  ...call,
  path: { ...call.path, ...path },
});

void t.test('INVARIANT: a parameter never changes the shape of the path', (t) => {
  const inspected = callOf('GET', '/v1.41/tasks/web');
  for (const id of ['a/b', '/', '/a', 'a/', 'a/../b', '../images/x', 'web/exec', '.', '..', '']) {
    t.throws(() => renderTarget(changed(inspected, { id })), /cannot be a path segment/, JSON.stringify(id));
  }
  for (const id of ['a%2fb', 'a%2Fb', '%2e%2e', 'a?b', 'a#b', 'a b', 'a\\b', 'ü', '...', '.a', 'a:b@c']) {
    const target = renderTarget(changed(inspected, { id }));
    t.match(target, /^\/v1\.41\/tasks\/[^/?#\s]+$/, `${JSON.stringify(id)} stays one segment: ${target}`);
    t.equal(callOf('GET', target).path['id'], id, 'and is read as it was');
  }
  t.end();
});

void t.test('a parameter that spans segments has no empty, `.` or `..` among them', (t) => {
  const image = callOf('GET', '/v1.41/images/r.example/a/b:1/json');
  t.equal(decodeURIComponent(renderTarget(image)), '/v1.41/images/r.example/a/b:1/json');
  for (const name of ['a//b', 'a/', '/a', 'a/./b', 'a/../b', '..', '']) {
    t.throws(() => renderTarget(changed(image, { name })), /cannot be a path segment/, JSON.stringify(name));
  }
  t.throws(() => renderTarget({ ...image, path: {} }), /no path parameter name/);
  t.end();
});

void t.test(
  'INVARIANT: reading what was written gives the same call again, whatever its parameters hold',
  (t) => {
    const list = callOf('GET', '/v1.41/containers/json');
    for (const text of ['a&b=c', 'a=b', '%', '+', ' ', '#', '?', '/', 'ü', '\u0001', 'a;b', '']) {
      const call: Call = { ...list, query: { filters: { type: 'json', value: { [`k${text}`]: [text] } } } };
      const again = callOf('GET', renderTarget(call));
      t.same(again.query['filters'], call.query['filters'], JSON.stringify(text));
      t.same(again.unknown, [], 'and no other parameter');
    }
    t.end();
  },
);

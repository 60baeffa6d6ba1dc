import t from 'tap';
import { shortImageName } from '../../src/hazards/image-name.js';
import { inspect } from '../../src/hazards/inspect.js';
import { makeCall, service } from './make-call.js';

void t.test('image names in their short form', (t) => {
  const rows = [
    ['alpine', 'alpine:latest'],
    ['library/alpine:3', 'alpine:3'],
    ['index.docker.io/library/alpine', 'alpine:latest'],
    ['docker.io/ci/app', 'ci/app:latest'],
    ['localhost/app', 'localhost/app:latest'],
    ['library/a/b', 'library/a/b:latest'],
    ['r.example:5000/app', 'r.example:5000/app:latest'],
    [`r.example/app:1@sha256:${'b'.repeat(64)}`, `r.example/app:1@sha256:${'b'.repeat(64)}`],
    ['a'.repeat(64), 'a'.repeat(64)],
    [`sha256:${'a'.repeat(64)}`, `sha256:${'a'.repeat(64)}`],
    ['Alpine', 'Alpine'],
    ['alpine:', 'alpine:'],
    ['a b', 'a b'],
    ['', ''],
  ] as const;
  for (const [given, short] of rows) t.equal(shortImageName(given), short, given);
  t.end();
});

void t.test('registry, tag and digest of an image', (t) => {
  const digest = `sha256:${'a'.repeat(64)}`;
  const parts = (call: Parameters<typeof inspect>[0]): string => {
    const { facts } = inspect(call);
    return ['registry', 'image.tag', 'image.digest'].map((name) => String(facts[name])).join(' ');
  };
  const rows: readonly (readonly [string, string])[] = [
    ['alpine', 'docker.io latest '],
    ['alpine:3', 'docker.io 3 '],
    ['index.docker.io/library/alpine:3', 'docker.io 3 '],
    [`alpine@${digest}`, `docker.io  ${digest}`],
    [`registry.example.com:5000/a/b:1@${digest}`, `registry.example.com:5000 1 ${digest}`],
    ['localhost/a', 'localhost latest '],
    ['127.0.0.1:5000/a', '127.0.0.1:5000 latest '],
    ['docker.io.example.com/library/alpine', 'docker.io.example.com latest '],
    ['team/beef', 'docker.io latest '],
    ['beef:1', 'docker.io 1 '],
    // What may be an id of any image, and what is no name.
    ['beef', '  '],
    ['6297af549210', '  '],
    [digest, '  '],
    ['a'.repeat(64), '  '],
    ['Alpine', '  '],
    ['', '  '],
  ];
  for (const [name, expected] of rows) {
    t.equal(parts(makeCall('ContainerCreate', { body: { Image: name } })), expected, `create ${name}`);
    t.equal(parts(service({ Image: name })), expected, `service ${name}`);
    if (name !== '') t.equal(parts(makeCall('ImageDelete', { path: { name } })), expected, `delete ${name}`);
  }
  const pull = (query: Record<string, string>): string => parts(makeCall('ImageCreate', { query }));
  t.equal(pull({ fromImage: 'alpine' }), 'docker.io  ', 'no tag is made up for a pull');
  t.equal(pull({ fromImage: 'beef', tag: '1' }), 'docker.io 1 ', 'what is pulled is no id');
  t.equal(pull({ fromImage: 'r.example/a:1', tag: digest }), `r.example  ${digest}`);
  t.equal(pull({ fromSrc: '-', repo: 'alpine' }), '  ', 'an import');
  const push = makeCall('ImagePush', { path: { name: 'r.example/a' }, query: { tag: '2' } });
  t.equal(parts(push), 'r.example 2 ');
  const login = makeCall('SystemAuth', { body: { serveraddress: '' } });
  t.equal(inspect(login).facts['registry'], 'docker.io');
  t.end();
});

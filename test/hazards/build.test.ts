import t from 'tap';
import { inspect } from '../../src/hazards/inspect.js';
import { formatHazard } from '../../src/hazards/inspection.js';
import { makeCall, type Parts } from './make-call.js';

// Words that a build is given, one by one.

const raised = (query: Parts['query'], dockerfile = 'FROM alpine'): string[] =>
  inspect(makeCall('ImageBuild', { query: query!, dockerfile }))
    .hazards.map(formatHazard)
    .sort();
const run = (flags: string): string[] => raised({}, `FROM alpine\nRUN ${flags} true`);

void t.test('each network that a build may use without more', (t) => {
  for (const networkmode of ['', 'default', 'none', 'bridge'])
    t.same(raised({ networkmode }), [], networkmode);
  for (const networkmode of ['host', 'container:db', 'ci', 'Default', 'bridge2']) {
    t.same(raised({ networkmode }), [`build-network:${networkmode}`], networkmode);
  }
  t.end();
});

void t.test('each argument that steers where a build goes', (t) => {
  for (const name of ['http_proxy', 'https_proxy', 'ftp_proxy', 'all_proxy', 'no_proxy']) {
    for (const spelt of [name, name.toUpperCase()]) {
      t.same(raised({ buildargs: { [spelt]: 'x' } }), [`build-arg:${spelt}`], spelt);
      t.same(raised({ buildargs: { [`MY_${spelt}`]: 'x' } }), [], `MY_${spelt}: the Dockerfile's own`);
      t.same(raised({ buildargs: { [`${spelt}_2`]: 'x' } }), [], `${spelt}_2: the Dockerfile's own`);
    }
  }
  t.same(raised({ buildargs: { BUILDKIT_SYNTAX: 'evil' } }), [
    'build-arg:BUILDKIT_SYNTAX',
    'syntax:evil:latest',
  ]);
  for (const name of ['BUILDKIT_MULTI_PLATFORM', 'BUILDKIT_CONTEXT_KEEP_GIT_DIR', 'BUILDKIT_']) {
    t.same(raised({ buildargs: { [name]: 'x' } }), [`build-arg:${name}`], name);
  }
  for (const name of ['BUILDKIT', 'MY_BUILDKIT_X', 'socks_proxy', 'proxy']) {
    t.same(raised({ buildargs: { [name]: 'x' } }), [], `${name}: the Dockerfile's own`);
  }
  t.end();
});

void t.test('each way to BuildKit, each way to a context that is not in the request', (t) => {
  for (const version of ['', '1']) t.same(raised({ version }), [], version);
  for (const version of ['2', '3', '01', '1 ']) t.same(raised({ version }), ['opaque:buildkit'], version);
  for (const name of ['session', 'buildid', 'outputs']) {
    t.same(raised({ [name]: 'x' }), ['opaque:buildkit'], name);
    for (const empty of ['', '[]', 'null']) t.same(raised({ [name]: empty }), [], `${name}=${empty}`);
  }
  t.same(raised({ remote: 'client-session' }), ['opaque:session-build']);
  t.same(raised({ remote: 'upload-request' }), ['opaque:upload-request']);
  for (const remote of ['http://c2.example/x', 'git@c2.example:x', 'client-session2', '-']) {
    t.same(raised({ remote }), [`remote-context:${remote}`], remote);
  }
  t.end();
});

void t.test('each flag of RUN', (t) => {
  for (const network of ['default', 'none', 'None']) t.same(run(`--network=${network}`), [], network);
  for (const network of ['host', 'HOST']) t.same(run(`--network=${network}`), ['run-network:host'], network);
  t.same(run('--security=sandbox'), []);
  t.same(run('--security=insecure'), ['run-security:insecure']);
  for (const type of ['bind', 'cache', 'tmpfs', 'secret', 'ssh']) {
    t.same(run(`--mount=type=${type},target=/x`), [`run-mount:${type}`], type);
  }
  t.same(run('--mount=target=/x'), ['run-mount:bind'], 'no type is a bind');
  t.end();
});

void t.test('each source of ADD that is fetched', (t) => {
  const add = (source: string): string[] => raised({}, `FROM alpine\nADD ${source} /x`);
  for (const source of [
    'http://c2.example/x',
    'https://c2.example/x',
    'HTTP://c2.example/x',
    'ftp://c2.example/x',
  ]) {
    t.same(add(source), [`add-url:${source}`], source);
  }
  for (const source of [
    'git@c2.example:a/b',
    'git://c2.example/a',
    'ssh://git@c2.example/a',
    'github.com/a/b',
  ]) {
    t.same(add(source), [`add-git:${source}`], source);
  }
  const repository = 'https://c2.example/a.git';
  t.same(add(repository), [`add-git:${repository}`, `add-url:${repository}`]);
  t.same(add(`${repository}#main:dir`), [`add-git:${repository}#main:dir`, `add-url:${repository}#main:dir`]);
  for (const source of [
    'x',
    './http',
    'git',
    'gitlab.com/a/b',
    'a.git',
    'my-github.com/a',
    'sub/github.com/x',
  ]) {
    t.same(add(source), [], `${source}: a file of the context`);
  }
  t.end();
});

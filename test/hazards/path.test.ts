import t from 'tap';
import { inspect } from '../../src/hazards/inspect.js';
import { formatHazard } from '../../src/hazards/inspection.js';
import { create } from './make-call.js';

// Which paths of the host hold the socket of an engine: every name and every place, one by one.

/** Does a bind of it give the engine's socket away? */
const holdsSocket = (path: string): boolean =>
  inspect(create({ Mounts: [{ Type: 'bind', Source: path, Target: '/x' }] }))
    .hazards.map(formatHazard)
    .includes('docker-socket');

void t.test('each name that an engine gives its socket, wherever it lies', (t) => {
  for (const name of [
    ...['docker.sock', 'containerd.sock', 'podman.sock', 'crio.sock', 'buildkitd.sock', 'dockershim.sock'],
    'cri-dockerd.sock',
  ]) {
    for (const place of ['/srv', '/var/run', '/run/user/1000', '/a/b/c', '']) {
      t.ok(holdsSocket(`${place}/${name}`), `${place}/${name}`);
    }
    t.notOk(holdsSocket(`/srv/my-${name}`), `my-${name}`);
    t.notOk(holdsSocket(`/srv/${name}.d/x`), `${name}.d/x`);
    t.notOk(holdsSocket(`/srv/${name}et`), `${name}et`);
  }
  t.end();
});

void t.test('each directory in which an engine keeps its socket, and all above', (t) => {
  for (const path of [
    ...['/', '/run', '/var', '/var/run', '/proc', '/proc/1/root', '/run/user', '/run/user/1000'],
    ...['docker', 'containerd', 'podman', 'crio', 'buildkit'].flatMap((name) => [
      `/run/${name}`,
      `/var/run/${name}`,
    ]),
    '/run//docker/',
    '/srv/../run',
  ]) {
    t.ok(holdsSocket(path), path);
  }
  for (const path of [
    ...['/run/app', '/run/dockerish', '/running', '/process', '/var/lib', '/srv/run', '/srv/proc/1/root'],
    ...['/run/user/1000/app', '/variable/run', '/home'],
  ]) {
    t.notOk(holdsSocket(path), path);
  }
  t.end();
});

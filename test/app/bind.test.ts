import { createServer } from 'node:http';
import { join } from 'node:path';
import t from 'tap';
import { bind } from '../../src/app/bind.js';

// What an operator reads when a socket cannot be made must name the path and the cause.

const listen = (path: string): Promise<string> => {
  const url = `unix://${path}`;
  const server = createServer();
  t.teardown(() => server.close());
  return bind(server, { name: 'unix', url }, new URL(url), () => undefined);
};

await t.test('a socket that cannot be made is reported with its cause', async (t) => {
  const directory = t.testdir({ file: 'somebody else’s' });
  await t.rejects(listen(join(directory, 'none', 'g.sock')), /there is no directory .*none; make it first/);
  await t.rejects(listen(join(directory, 'file')), /file: the path exists and is not a socket/);
});

await t.test('a socket that is in use is left alone', async (t) => {
  const path = join('/tmp', `bw-bind-${process.pid}.sock`);
  t.equal(await listen(path), `unix://${path}`);
  await t.rejects(listen(path), /another process is listening there/);
});

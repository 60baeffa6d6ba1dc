import t from 'tap';
import { HOP_BY_HOP, endToEnd } from '../../src/docker/http.js';

t.test('headers of one connection are not passed on', async (t) => {
  const names = [
    'connection',
    'keep-alive',
    'proxy-authenticate',
    'proxy-connection',
    'te',
    'trailer',
    'transfer-encoding',
    'upgrade',
  ];
  t.same([...HOP_BY_HOP].sort(), names);
  const kept = ['Content-Type', 'a/b', 'Date', 'x'];
  for (const name of names) {
    for (const spelt of [name, name.toUpperCase(), `${name[0]!.toUpperCase()}${name.slice(1)}`])
      t.same(endToEnd(['Content-Type', 'a/b', spelt, 'x', 'Date', 'x']), kept, spelt);
    // A header of the same length is another one.
    const other = `x${name.slice(1)}`;
    t.same(endToEnd([other, 'x', ...kept]), [other, 'x', ...kept], other);
  }
});

t.test('headers that Connection lists are not passed on', async (t) => {
  const headers = [
    'X-One',
    '1',
    'Connection',
    'close, X-One',
    'Date',
    'x',
    'connection',
    'x-two',
    'X-TWO',
    '2',
  ];
  t.same(endToEnd(headers), ['Date', 'x']);
  t.same(endToEnd([]), []);
});

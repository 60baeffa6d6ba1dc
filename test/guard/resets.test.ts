import t from 'tap';
import { RESET, talk, type Part } from '../support/raw.js';
import { get, lines, post } from './case.js';
import { ping, startGuarded } from './guarded.js';

// A client that resets its connection, at any moment and in any state of it, ends no process: this one has the guard in it.

const guarded = await startGuarded({
  policy: { rules: [{ id: 'all', sources: ['*'], operations: ['*'], permit: ['*'] }] },
});
t.teardown(() => guarded.close());

const UPGRADE = ['Connection: Upgrade', 'Upgrade: tcp'];
const REQUESTS: Readonly<Record<string, string>> = {
  CONNECT: lines(['CONNECT example.com:443 HTTP/1.1', 'Host: example.com:443']),
  'CONNECT with more behind it': lines(['CONNECT x:1 HTTP/1.1', 'Host: x'], 'x'.repeat(70_000)),
  'an upgrade of what is none': get('/_ping', ...UPGRADE),
  'an upgrade that is refused': get('/no/such/thing', ...UPGRADE),
  'an upgrade behind a call': get('/_ping') + post('/v1.41/containers/c/attach?stream=1', ...UPGRADE),
  'an upgrade': post('/v1.41/containers/c/attach?stream=1&stdout=1', ...UPGRADE),
  'no HTTP at all': '\x16\x03\x01\x00\x05hello\r\n\r\n',
  'a call': get('/_ping'),
};

for (const [name, bytes] of Object.entries(REQUESTS)) {
  await t.test(name, async (t) => {
    for (const wait of [0, 1, 3, 10]) {
      for (let round = 0; round < 5; round++) {
        const parts: Part[] = wait === 0 ? [bytes, RESET] : [bytes, wait, RESET];
        await talk(guarded.tcp, parts, { answers: 0, timeout: 2_000 });
      }
    }
    t.equal(await ping(guarded.tcp), 200, 'the guard answers');
  });
}

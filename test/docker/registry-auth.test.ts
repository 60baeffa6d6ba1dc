import t from 'tap';
import { unlimited } from '../../src/base/work.js';
import { authHosts, credentialHosts, readRegistryAuth } from '../../src/docker/registry-auth.js';

const limits = { jsonDepth: 32, jsonBody: 1 << 20 };
const CREDENTIALS = ['username', 'password', 'auth', 'email', 'identitytoken', 'registrytoken'];
const read = (name: string, value: object): string =>
  readRegistryAuth(name, Buffer.from(JSON.stringify(value)).toString('base64'), limits, unlimited());
const decode = (canonical: string): unknown => JSON.parse(Buffer.from(canonical, 'base64url').toString());

t.test('each field that the engine reads is kept, others are not', async (t) => {
  for (const field of [...CREDENTIALS, 'serveraddress']) {
    const auth = { [field]: 'a' };
    t.same(decode(read('x-registry-auth', { ...auth, other: 'b' })), auth, field);
    const config = { 'r.example': auth };
    t.same(decode(read('x-registry-config', { 'r.example': { ...auth, other: 'b' } })), config, field);
  }
});

t.test(
  'each credential makes its registry one that gets credentials; an address alone does not',
  async (t) => {
    for (const field of CREDENTIALS) {
      const auth = { [field]: 'a' };
      t.same(credentialHosts('x-registry-auth', read('x-registry-auth', auth)), [''], field);
      const addressed = { ...auth, serveraddress: 'r.example' };
      t.same(credentialHosts('x-registry-auth', read('x-registry-auth', addressed)), ['r.example'], field);
      const config = { 'r.example': auth, 'empty.example': { [field]: '' } };
      t.same(credentialHosts('x-registry-config', read('x-registry-config', config)), ['r.example'], field);
    }
    const alone = read('x-registry-auth', { serveraddress: 'r.example' });
    t.same(credentialHosts('x-registry-auth', alone), []);
    t.same(authHosts('x-registry-auth', alone), ['r.example']);
    t.same(credentialHosts('x-registry-auth', ''), []);
  },
);

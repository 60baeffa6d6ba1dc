import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import t from 'tap';
import { until } from '../support/command.js';
import { startGuarded, type Guarded } from './guarded.js';

// Who a TLS client is: the names in a certificate that the CA of the config has signed, and nobody without one. With a
// certificate that does not verify nobody is let in, not even as nobody: somebody claims to be who they are not.

const directory = mkdtempSync(join(tmpdir(), 'bw-certificates-'));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));
const file = (name: string): string => join(directory, name);
const openssl = (...args: string[]): unknown =>
  execFileSync('openssl', args, { cwd: directory, stdio: 'ignore' });

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
function selfSigned(name: string): void {
  openssl(
    'req',
    '-x509',
    ...KEY,
    '-subj',
    `/CN=${name}`,
    '-days',
    '2',
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.pem`,
  );
}
/** `file.pem` with this common name, signed by a CA. */
function signed(name: string, commonName: string, ca: string, days = '2'): void {
  openssl('req', ...KEY, '-subj', `/CN=${commonName}`, '-keyout', `${name}.key`, '-out', `${name}.csr`);
  const by = ['-CA', `${ca}.pem`, '-CAkey', `${ca}.key`, '-CAcreateserial'];
  openssl('x509', '-req', '-in', `${name}.csr`, ...by, '-days', days, '-out', `${name}.pem`);
}

for (const name of ['ca', 'foreign-ca', 'server', 'self']) selfSigned(name);
signed('ci', 'ci', 'ca');
signed('other', 'other', 'ca');
// The same name, from a CA that nobody here trusts.
signed('foreign', 'ci', 'foreign-ca');
signed('expired', 'ci', 'ca', '-1');

const policy = {
  sources: { ci: { certificate: ['CN=ci'] } },
  rules: [
    { id: 'ping', sources: ['*'], operations: ['SystemPing'] },
    { id: 'version', sources: ['ci'], operations: ['SystemVersion'] },
  ],
};
const start = (clientAuth: 'optional' | 'required'): Promise<Guarded> => {
  const tls = { cert: file('server.pem'), key: file('server.key'), clientCa: file('ca.pem'), clientAuth };
  return startGuarded({ policy, config: { listen: [{ name: 'tls', url: 'tls://127.0.0.1:0', tls }] } });
};

/** The status of an answer to a GET, and 0 when the connection ends without one. */
function get(guarded: Guarded, path: string, certificate: string | undefined): Promise<number> {
  return new Promise((resolve) => {
    const socket = connect({
      port: guarded.tcp.port,
      rejectUnauthorized: false,
      ...(certificate !== undefined && {
        cert: readFileSync(file(`${certificate}.pem`)),
        key: readFileSync(file(`${certificate}.key`)),
      }),
    });
    let text = '';
    socket.on('data', (piece: Buffer) => (text += piece.toString('latin1')));
    socket.on('error', () => {});
    socket.on('close', () => resolve(Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0)));
    socket.setTimeout(5_000, () => socket.destroy());
    socket.write(`GET ${path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n`);
  });
}

await t.test(
  'clientAuth optional: verified is known, none is nobody, what does not verify is closed and on record',
  async (t) => {
    const guarded = await start('optional');
    t.teardown(() => guarded.close());
    t.equal(await get(guarded, '/version', 'ci'), 200, 'signed by the CA: the source');
    t.equal(await get(guarded, '/version', 'other'), 403, 'signed by the CA, with another name');
    t.equal(await get(guarded, '/version', undefined), 403, 'none: not the source');
    t.equal(await get(guarded, '/_ping', undefined), 200, 'none: nobody in particular');
    for (const certificate of ['foreign', 'self', 'foreign-ca', 'expired']) {
      guarded.audit();
      guarded.upstream.forget();
      t.equal(await get(guarded, '/_ping', certificate), 0, `${certificate}: closed without an answer`);
      let codes: readonly string[] = [];
      await until(() => (codes = [...codes, ...guarded.audit().map(({ code }) => code)]).length > 0, 2_000);
      t.same(codes, ['client-certificate'], `${certificate}: on record`);
      t.same(guarded.upstream.requests, [], `${certificate}: nothing reached the engine`);
    }
    t.equal(await get(guarded, '/version', 'ci'), 200, 'and the others are served as before');
  },
);

await t.test('clientAuth required: nobody is served without a certificate of the CA', async (t) => {
  const guarded = await start('required');
  t.teardown(() => guarded.close());
  t.equal(await get(guarded, '/version', 'ci'), 200);
  t.equal(await get(guarded, '/_ping', 'other'), 200);
  for (const certificate of [undefined, 'foreign', 'self', 'expired']) {
    guarded.upstream.forget();
    t.equal(await get(guarded, '/_ping', certificate), 0, certificate ?? 'none');
    t.same(guarded.upstream.requests, []);
  }
});

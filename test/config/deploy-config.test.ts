import { fileURLToPath } from 'node:url';
import { readFile } from 'node:fs/promises';
import t from 'tap';
import { loadConfig } from '../../src/config/load.js';
import { parseFeed } from '../../src/intel/formats/parse.js';

// dist/test/config → the project's root.
const deploy = fileURLToPath(new URL('../../../deploy/', import.meta.url));

await t.test('the example config loads, and starts without files that do not exist yet', async (t) => {
  const loaded = loadConfig(`${deploy}breakwater.json`, { listen: [], policy: [] });
  const network = loadConfig(`${deploy}breakwater.tls.json`, { listen: [], policy: [] });
  t.ok(loaded.ok && network.ok);
  if (!loaded.ok || !network.ok) return;
  const { listen } = loaded.config;
  t.same(listen, network.config.listen.slice(0, 1));
  t.same({ ...network.config, listen }, loaded.config, 'all else is the same');
});

await t.test('the example config for the network loads', async (t) => {
  const loaded = loadConfig(`${deploy}breakwater.tls.json`, { listen: [], policy: [] });
  t.same(loaded.ok ? [] : loaded.problems, []);
  if (!loaded.ok) return;
  t.same(
    loaded.config.listen.map(({ name, url, insecure }) => ({ name, url, insecure })),
    [
      { name: 'unix', url: 'unix:///run/breakwater/docker.sock', insecure: undefined },
      { name: 'lan', url: 'tls://0.0.0.0:2376', insecure: undefined },
    ],
  );
  t.equal(loaded.config.listen[1]?.tls?.clientAuth, 'required', 'the network needs a client certificate');
  t.same(loaded.config.policy, [`${deploy}policies/default.json`], 'relative to the file');
  t.same(loaded.config.audit.onFailure, { write: 'deny', read: 'allow' });
});

await t.test('what must not get lost in the deployment files', async (t) => {
  const unit = await readFile(`${deploy}breakwater.service`, 'utf8');
  for (const line of [
    'NoNewPrivileges=yes',
    'ProtectSystem=strict',
    'CapabilityBoundingSet=',
    'User=breakwater',
    // Else the reports of the outbound side could not be taken in.
    'ReadWritePaths=-/var/lib/breakwater-egress',
    'Type=notify',
    'NotifyAccess=all',
    // As the directory is made by the installation: otherwise a warning at each start.
    'ConfigurationDirectoryMode=0750',
  ]) {
    t.ok(unit.includes(`\n${line}\n`), line);
  }
  // Without it os.networkInterfaces() throws, and no index of indicators is ever built.
  t.match(unit, /^RestrictAddressFamilies=.*AF_NETLINK/m, 'for the addresses of this host');
  t.notMatch(unit, /^MemoryDenyWriteExecute=/m, 'V8 cannot live with it');
  const compose = await readFile(`${deploy}compose.yaml`, 'utf8');
  const [guard = '', traefik = ''] = compose.split(/^ {2}traefik:$/m);
  t.match(guard, '- /var/run/docker.sock:');
  t.notMatch(traefik, '/var/run/docker.sock', 'only the guard has the socket');
  for (const service of [guard, traefik]) {
    t.match(service, 'read_only: true');
    t.match(service, 'cap_drop: [ALL]');
    t.match(service, 'no-new-privileges:true');
  }
  const image = await readFile(`${deploy}Dockerfile`, 'utf8');
  t.match(image, /^USER 10001:10001$/m);
  for (const label of ['title', 'description', 'licenses', 'version', 'revision'])
    t.match(image, `org.opencontainers.image.${label}=`);
  const { version } = JSON.parse(await readFile(`${deploy}../package.json`, 'utf8')) as { version: string };
  t.match(image, new RegExp(`^ARG VERSION=${version.replaceAll('.', '[.]')}$`, 'm'), 'of package.json');
  t.notMatch(image, /^(ARG|ENV) .*(TOKEN|SECRET|PASSWORD|KEY)/im, 'no secrets');
});

await t.test('the example of feeds loads, and its report is one', async (t) => {
  const loaded = loadConfig(`${deploy}feeds/breakwater.json`, { listen: [], policy: [] });
  t.same(loaded.ok ? [] : loaded.problems, []);
  if (!loaded.ok) return;
  t.same(
    loaded.config.feeds.sources.map(({ name, action }) => `${name} ${action}`),
    ['report block', 'c2 block', 'scanners alert'],
  );
  const feed = parseFeed(
    await readFile(new URL(loaded.config.feeds.sources[0]?.url ?? ''), 'utf8'),
    'auto',
    0,
  );
  t.same([...feed.indicators].map(({ type, value }) => `${type} ${value}`).sort(), [
    'domain panel.evil.example',
    'hash 5f0c8e6b1d2a4937be8c0f1a6d7e9b3c4d5e6f708192a3b4c5d6e7f8091a2b3c',
    'ipv4 198.51.100.66',
    'url c2.evil.example/dock/main.sh',
  ]);
  t.equal(feed.format, 'report');
});

await t.test('the outbound side has the packet filter, and no engine', async (t) => {
  const unit = await readFile(`${deploy}breakwater-egress.service`, 'utf8');
  for (const line of [
    'NoNewPrivileges=yes',
    'ProtectSystem=strict',
    'CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_BIND_SERVICE',
    'User=breakwater-egress',
    'Type=notify',
    'NotifyAccess=all',
    'InaccessiblePaths=-/run/docker.sock -/var/run/docker.sock',
  ]) {
    t.ok(unit.includes(`\n${line}\n`), line);
  }
  t.match(unit, /^RestrictAddressFamilies=.*AF_NETLINK/m, 'nft speaks netlink');
  const compose = await readFile(`${deploy}compose.egress.yaml`, 'utf8');
  for (const line of ['cap_drop: [ALL]', 'cap_add: [NET_ADMIN]', 'network_mode: host', 'read_only: true']) {
    t.match(compose, line);
  }
  t.notMatch(compose, /docker\.sock/);
});

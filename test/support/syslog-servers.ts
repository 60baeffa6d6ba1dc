import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Test } from 'tap';
import { killGroup, until } from './command.js';
import { freePort } from './free-port.js';

/** Where fetch-syslog.sh unpacked the two. */
export const tools =
  process.env['BREAKWATER_SYSLOG'] ?? join(process.env['HOME'] ?? '/root', '.cache/breakwater/syslog');
export const isThere = ['rsyslogd', 'syslog-ng'].every((name) => existsSync(join(tools, 'usr/sbin', name)));
export const lib = join(tools, 'usr/lib/x86_64-linux-gnu');
/** Where the two find their libraries. */
export const env = {
  LD_LIBRARY_PATH: [lib, join(tools, 'lib/x86_64-linux-gnu'), join(tools, 'usr/lib/syslog-ng')].join(':'),
};

export interface Place {
  readonly directory: string;
  readonly port: number;
  readonly out: string;
  readonly tls: boolean;
}

/** How each is set up and started: one line for each message, as it came, into `out`. */
export const RECEIVERS: Readonly<Record<string, (place: Place) => readonly string[]>> = {
  rsyslog({ directory, port, out, tls }) {
    const file = join(directory, 'rsyslog.conf');
    const files = `defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="${directory}/cert.pem" defaultNetstreamDriverCertFile="${directory}/cert.pem" defaultNetstreamDriverKeyFile="${directory}/key.pem"`;
    const driver = 'StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon"';
    writeFileSync(
      file,
      `global(workDirectory="${directory}" maxMessageSize="128k" parser.escapeControlCharactersOnReceive="off" ${tls ? files : ''})
module(load="imtcp" ${tls ? driver : ''})
template(name="raw" type="string" string="%msg:::drop-last-lf%\\n")
input(type="imtcp" address="127.0.0.1" port="${port}" ruleset="in")
ruleset(name="in") { action(type="omfile" file="${out}" template="raw") }
`,
    );
    const modules = `${join(lib, 'rsyslog')}/`;
    return ['rsyslogd', '-n', '-f', file, '-i', join(directory, 'r.pid'), '-M', modules];
  },
  'syslog-ng'({ directory, port, out, tls }) {
    const file = join(directory, 'syslog-ng.conf');
    const keys = `tls(key-file("${directory}/key.pem") cert-file("${directory}/cert.pem") peer-verify(optional-untrusted))`;
    writeFileSync(
      file,
      `@version: 3.35
options { log-msg-size(131072); stats-freq(0); };
source in { syslog(ip("127.0.0.1") port(${port}) transport("${tls ? 'tls' : 'tcp'}") ${tls ? keys : ''} flags(no-multi-line)); };
destination out { file("${out}" template("$MSG\\n")); };
log { source(in); destination(out); flags(flow-control); };
`,
    );
    return [
      ...['syslog-ng', '-F', '--no-caps', '-f', file, '--module-path', join(tools, 'usr/lib/syslog-ng/3.38')],
      ...[
        '-R',
        join(directory, 'ng.persist'),
        '-p',
        join(directory, 'ng.pid'),
        '-c',
        join(directory, 'ng.ctl'),
      ],
    ];
  },
};

/** Resolves when it takes connections. @throws Error when it does not within 15 s. */
export async function startReceiver(port: number, command: readonly string[]): Promise<ChildProcess> {
  const [name = '', ...args] = command;
  const child = spawn(join(tools, 'usr/sbin', name), args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
    detached: true,
  });
  const isUp = await until(
    () =>
      new Promise<boolean>((resolve) => {
        const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
        socket.once('connect', () => socket.end());
      }),
    15_000,
  );
  if (!isUp) killGroup(child);
  if (!isUp) throw new Error(`${name} did not start`);
  return child;
}

export async function stopReceiver(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

/**
 * Closes a connection at once. One that is being shut down must not be reset: libuv refuses it (EINVAL from
 * `uv_tcp_close_reset`), Node 20 leaves the handle open for ever, and the process spins when it should exit.
 */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

/** A network that can be cut: connections are reset, as they are when a way is gone. */
export async function network(t: Test, port: number): Promise<{ port: number; cut: () => void }> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one);
      one.pipe(other);
      one.on('error', () => reset(other)).on('close', () => open.delete(one));
    }
  });
  const own = await freePort();
  await new Promise<void>((resolve) => server.listen(own, '127.0.0.1', resolve));
  const cut = (): void => {
    for (const one of open) reset(one);
  };
  t.teardown(() => {
    cut();
    server.close();
  });
  return { port: own, cut };
}

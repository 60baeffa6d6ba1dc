/**
 * HAProxy three times over: as a stand-in for the engine, fast enough not to be the limit, and as a Docker socket proxy in
 * the way Tecnativa/docker-socket-proxy does it: one path rule per section of the API, switched on by an environment
 * variable, everything else denied. One thread each.
 */

const COMMON = `
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 10m
  timeout server 10m
`;

/** Every section has its switch. The order is that of the alphabet, after the three single operations. */
const SECTIONS: readonly (readonly [path: string, flag: string])[] = [
  ['containers/[a-zA-Z0-9_.-]+/start', 'ALLOW_START'],
  ['containers/[a-zA-Z0-9_.-]+/stop', 'ALLOW_STOP'],
  ['containers/[a-zA-Z0-9_.-]+/restart', 'ALLOW_RESTART'],
  ...[
    ...[
      'auth',
      'build',
      'commit',
      'configs',
      'containers',
      'distribution',
      'events',
      'exec',
      'grpc',
      'images',
    ],
    ...['info', 'networks', 'nodes', '_ping', 'plugins', 'secrets', 'services', 'session', 'swarm', 'system'],
    ...['tasks', 'version', 'volumes'],
  ].map((path) => [path, path.replace('_', '').toUpperCase()] as const),
];

/** The switches that the benchmark's requests need, and those that are on by default. */
export const proxyEnv = {
  BUILD: '1',
  CONTAINERS: '1',
  IMAGES: '1',
  POST: '1',
  EVENTS: '1',
  PING: '1',
  VERSION: '1',
};

/** `log`: as the image does it, a log line per request (to stdout) and a new upstream connection for each. */
export function proxyConfig(port: number, socket: string, engine: string, log: boolean): string {
  const rules = SECTIONS.map(
    ([path, flag]) =>
      `  http-request allow if { path,url_dec -m reg -i ^(/v[\\d\\.]+)?/${path} } { env(${flag}) -m bool }`,
  );
  return `${COMMON}${log ? '  option httplog\n  option http-server-close\n  log stdout format raw daemon info\n' : '  option http-keep-alive\n'}
frontend api
  bind 127.0.0.1:${port}
  bind unix@${socket}
  http-request deny unless METH_GET || { env(POST) -m bool }
${rules.join('\n')}
  http-request deny
  default_backend engine
backend engine
  server engine unix@${engine}
`;
}

/** Answers from files, on a unix socket for the proxies and on a port for `direct`. */
export function engineConfig(port: number, socket: string, files: Readonly<Record<Answer, string>>): string {
  const common =
    'hdr Api-Version 1.41 hdr Docker-Experimental false hdr Ostype linux hdr Server Docker/20.10.24';
  const json = (status: number, file: string, condition: string): string =>
    `  http-request return status ${status} content-type application/json file ${file} ${common} if ${condition}`;
  return `${COMMON}  option http-buffer-request
frontend engine
  bind unix@${socket}
  bind 127.0.0.1:${port}
  http-request return status 200 content-type text/plain string OK ${common} if { path_end /_ping }
${json(201, files.create, '{ path_end /containers/create }')}
${json(200, files.list, '{ path_end /containers/json }')}
${json(200, files.inspect, '{ path_end /json }')}
  http-request return status 404
`;
}

export type Answer = 'list' | 'inspect' | 'create';

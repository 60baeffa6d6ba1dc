import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { END, tarHeader } from './tar.js';

/** A registry on loopback (OCI distribution specification, pull alone), which engines talk to without TLS. */
export interface Registry {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** Puts up an image of one file; returns its id. */
  put(repository: string, tag: string, labels?: Readonly<Record<string, string>>): string;
  /** Puts up a manifest that names an image by its id alone: the registry has neither its configuration nor its layers. */
  putForged(repository: string, tag: string, id: string, layers: readonly string[]): void;
  close(): void;
}

const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

export async function startRegistry(): Promise<Registry> {
  const blobs = new Map<string, Buffer>();
  const manifests = new Map<string, Buffer>();
  const add = (bytes: Buffer): { digest: string; size: number } => {
    blobs.set(digestOf(bytes), bytes);
    return { digest: digestOf(bytes), size: bytes.length };
  };
  const publish = (repository: string, tag: string, config: object, layers: readonly object[]): void => {
    const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, config, layers }));
    manifests.set(`${repository}:${tag}`, manifest);
    manifests.set(`${repository}:${digestOf(manifest)}`, manifest);
  };
  const server = createServer((request, response) => {
    const [, repository = '', kind = '', name = ''] =
      /^\/v2\/(.+)\/(manifests|blobs)\/(.+)$/.exec(request.url ?? '') ?? [];
    const found = kind === 'manifests' ? manifests.get(`${repository}:${name}`) : blobs.get(name);
    if (request.url === '/v2/') response.end('{}');
    else if (found === undefined)
      response.writeHead(404, { 'content-type': 'application/json' }).end('{"errors":[]}');
    else {
      const type = kind === 'manifests' ? MANIFEST : 'application/octet-stream';
      response.writeHead(200, {
        'content-type': type,
        'docker-content-digest': digestOf(found),
        'content-length': found.length,
      });
      response.end(request.method === 'HEAD' ? undefined : found);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    put(repository, tag, labels = {}) {
      const data = Buffer.from(`${repository}:${tag} ${JSON.stringify(labels)}`);
      const padding = Buffer.alloc((512 - (data.length % 512)) % 512);
      const layer = Buffer.concat([tarHeader({ name: 'file', data }), data, padding, END]);
      const config = Buffer.from(
        JSON.stringify({
          architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
          os: 'linux',
          config: { Cmd: ['/file'], Labels: labels },
          rootfs: { type: 'layers', diff_ids: [digestOf(layer)] },
        }),
      );
      publish(
        repository,
        tag,
        { mediaType: 'application/vnd.docker.container.image.v1+json', ...add(config) },
        [{ mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', ...add(gzipSync(layer)) }],
      );
      return digestOf(config);
    },
    putForged(repository, tag, id, layers) {
      publish(
        repository,
        tag,
        { mediaType: 'application/vnd.docker.container.image.v1+json', digest: id, size: 1000 },
        layers.map((digest) => ({
          mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
          digest,
          size: 100,
        })),
      );
    },
    close: () => server.close(),
  };
}

import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';

/** A registry with one image under every name, which changes when it is told to. */
export interface Registry {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** From now on `latest` is another image. */
  publish(label: string): void;
  close(): void;
}

const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/**
 * Serves pulls (OCI distribution specification, image manifest schema 2) on loopback, where engines speak plain HTTP.
 *
 * @param rootfs the only layer, a tar archive.
 */
export async function startRegistry(rootfs: Buffer): Promise<Registry> {
  const blobs = new Map<string, Buffer>();
  let manifest = Buffer.alloc(0);
  const publish = (label: string): void => {
    const layer = gzipSync(rootfs);
    const config = Buffer.from(
      JSON.stringify({
        architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
        os: 'linux',
        created: '2024-05-01T00:00:00Z',
        config: { Cmd: ['sleep', '600'], Env: ['PATH=/bin'], Labels: { version: label } },
        rootfs: { type: 'layers', diff_ids: [sha256(rootfs)] },
        history: [{ created: '2024-05-01T00:00:00Z', created_by: 'test' }],
      }),
    );
    blobs.set(sha256(layer), layer).set(sha256(config), config);
    const type = 'application/vnd.docker';
    manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: `${type}.distribution.manifest.v2+json`,
        config: { mediaType: `${type}.container.image.v1+json`, size: config.length, digest: sha256(config) },
        layers: [
          { mediaType: `${type}.image.rootfs.diff.tar.gzip`, size: layer.length, digest: sha256(layer) },
        ],
      }),
    );
  };
  publish('1');
  const server = createServer((request, response) => {
    const [, kind, name = ''] = /\/(manifests|blobs)\/([^/]+)$/.exec(request.url ?? '') ?? [];
    const found = kind === 'manifests' ? manifest : blobs.get(decodeURIComponent(name));
    if (kind === undefined || found === undefined) {
      response.writeHead(kind === undefined ? 200 : 404, {
        'Docker-Distribution-Api-Version': 'registry/2.0',
      });
      response.end('{}');
      return;
    }
    const type =
      kind === 'manifests'
        ? 'application/vnd.docker.distribution.manifest.v2+json'
        : 'application/octet-stream';
    response.writeHead(200, {
      'Content-Type': type,
      'Content-Length': found.length,
      'Docker-Content-Digest': sha256(found),
    });
    response.end(request.method === 'HEAD' ? undefined : found);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    publish,
    close: () => void server.close(),
  };
}

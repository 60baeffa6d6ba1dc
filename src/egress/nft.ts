import { spawn } from 'node:child_process';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** The command, where packages install it: nothing of the caller's PATH counts in a privileged process. */
const PLACES = '/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin';
/** A million elements take 5 s on a slow machine. */
const NFT_TIMEOUT_MS = 120_000;
const MAX_OUTPUT_BYTES = 64 * 2 ** 20;

/** What nft printed, or why it refused (one line). */
export type NftResult =
  { readonly ok: true; readonly stdout: string } | { readonly ok: false; readonly message: string };

/**
 * Runs nft. Never rejects.
 *
 * @param input piped to its standard input, piece by piece: a large ruleset is never one string.
 */
export function runNft(args: readonly string[], input: Iterable<string> = []): Promise<NftResult> {
  return new Promise((resolve) => {
    const child = spawn('nft', args, { env: { PATH: PLACES, LC_ALL: 'C' }, stdio: 'pipe' });
    const out: Buffer[] = [];
    let size = 0;
    let errors = '';
    const timer = setTimeout(() => {
      errors = `nft did not end within ${NFT_TIMEOUT_MS / 1000} s`;
      child.kill('SIGKILL');
    }, NFT_TIMEOUT_MS);
    child.stdout.on('data', (piece: Buffer) => {
      size += piece.length;
      if (size <= MAX_OUTPUT_BYTES) out.push(piece);
    });
    child.stderr.on('data', (piece: Buffer) => {
      if (errors.length < 4096) errors += piece.toString('utf8');
    });
    child.on('error', (error) => {
      clearTimeout(timer);
      const message =
        (error as NodeJS.ErrnoException).code === 'ENOENT' ? `there is no nft in ${PLACES}` : error.message;
      resolve({ ok: false, message });
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      if (code === 0 && size <= MAX_OUTPUT_BYTES)
        resolve({ ok: true, stdout: Buffer.concat(out).toString('utf8') });
      else if (code === 0) resolve({ ok: false, message: `nft printed more than ${MAX_OUTPUT_BYTES} bytes` });
      else resolve({ ok: false, message: oneLine(errors) || `nft ended with code ${code}` });
    });
    // nft may end at the first error without reading on.
    pipeline(Readable.from(input, { objectMode: true }), child.stdin).catch(() => undefined);
  });
}

function oneLine(text: string): string {
  return text.trim().split('\n').slice(0, 3).join('; ').slice(0, 400);
}

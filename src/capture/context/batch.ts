/** Bytes to be written on, gathered into few large buffers. */
export interface Batch {
  /** Room for `size` bytes, zeroed, to be filled before anything else is added. */
  readonly room: (size: number) => Buffer;
  /** Small pieces are copied, one after the other; large ones are kept as they are. */
  readonly add: (piece: Buffer) => void;
  /** What was gathered since the last call. The buffers are the caller's: they are never written to again. */
  readonly take: () => Buffer[];
}

/** Pieces from this size on cost less as a write of their own than as a copy. */
const LARGE = 32 * 1024;
/** Bytes allocated at once. */
const SLAB = 64 * 1024;

export function openBatch(): Batch {
  let out: Buffer[] = [];
  let slab: Buffer = Buffer.alloc(0);
  /** What was taken of the slab ends at `start`; what is filled ends at `at`. */
  let start = 0;
  let at = 0;
  const flush = (): void => {
    if (at > start) out.push(slab.subarray(start, at));
    start = at;
  };
  const renew = (least: number): void => {
    flush();
    slab = Buffer.allocUnsafeSlow(Math.max(SLAB, least));
    start = at = 0;
  };
  return {
    room(size) {
      if (slab.length - at < size) renew(size);
      at += size;
      return slab.subarray(at - size, at).fill(0);
    },
    add(piece) {
      if (piece.length >= LARGE) {
        flush();
        out.push(piece);
        return;
      }
      let copied = piece.copy(slab, at);
      at += copied;
      if (copied === piece.length) return;
      renew(0);
      copied = piece.copy(slab, 0, copied);
      at = copied;
    },
    take() {
      flush();
      const taken = out;
      out = [];
      return taken;
    },
  };
}

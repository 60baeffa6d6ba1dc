/**
 * Changes the body of an answer while it passes. INVARIANT: what `feed` or `end` returned may be sent at once; after
 * a throw nothing more may be sent, and the answer must not look complete.
 */
export interface AnswerTransform {
  /**
   * @param piece stays the caller's, and is not changed.
   * @returns what can be passed on now, which may be nothing, or the piece itself.
   * @throws AnswerError when the answer cannot be read
   */
  feed(piece: Uint8Array): Uint8Array;
  /**
   * The answer is complete.
   *
   * @throws AnswerError when it ended too early
   */
  end(): Uint8Array;
}

/** The engine's answer is not what it should be, so that it cannot be changed as policy demands. */
export class AnswerError extends Error {
  /** @param what is wrong; must quote nothing of the answer. */
  constructor(what: string) {
    super(what);
    this.name = 'AnswerError';
  }
}

export const NOTHING = new Uint8Array(0);

/** Feeds what comes out of `first` to `second`. */
export function chain(first: AnswerTransform, second: AnswerTransform): AnswerTransform {
  return {
    feed(piece) {
      const between = first.feed(piece);
      return between.length === 0 ? NOTHING : second.feed(between);
    },
    end() {
      const last = first.end();
      return join(last.length === 0 ? NOTHING : second.feed(last), second.end());
    },
  };
}

/** An answer that never has a body, even if its headers announce one. */
export function noBody(what: string): AnswerTransform {
  return {
    feed(piece) {
      if (piece.length > 0) throw new AnswerError(what);
      return NOTHING;
    },
    end: () => NOTHING,
  };
}

function join(first: Uint8Array, second: Uint8Array): Uint8Array {
  if (first.length === 0) return second;
  if (second.length === 0) return first;
  const joined = new Uint8Array(first.length + second.length);
  joined.set(first);
  joined.set(second, first.length);
  return joined;
}

/** A list of unsigned 32-bit numbers that grows, without an object for each. */
export interface Growing {
  length: number;
  push(value: number): void;
  /** The numbers so far; valid until the next push. */
  view(): Uint32Array;
}

export function growing(): Growing {
  let data = new Uint32Array(1024);
  const list: Growing = {
    length: 0,
    push(value) {
      if (list.length === data.length) data = enlarge(data, new Uint32Array(data.length * 2));
      data[list.length++] = value;
    },
    view: () => data.subarray(0, list.length),
  };
  return list;
}

function enlarge(old: Uint32Array<ArrayBuffer>, fresh: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  fresh.set(old);
  return fresh;
}

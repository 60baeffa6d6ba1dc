const SIZES: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};
const DURATIONS: Readonly<Record<string, number>> = {
  '': 1,
  ms: 1,
  s: 1e3,
  m: 60e3,
  h: 3_600e3,
  d: 86_400e3,
};

function parse(value: string | number, units: Readonly<Record<string, number>>): number | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  const match = /^(\d{1,15})([A-Za-z]{0,3})$/.exec(value);
  const unit = match?.[2] ?? '';
  if (match === null || !Object.hasOwn(units, unit)) return undefined;
  const result = Number(match[1]) * units[unit]!;
  return Number.isSafeInteger(result) ? result : undefined;
}

/**
 * `64MiB` → bytes. Units B, KB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB, TiB (of 1024); a bare number is
 * bytes. Whole, not negative, exact in a double; else undefined.
 */
export function parseSize(value: string | number): number | undefined {
  return parse(value, SIZES);
}

/** `30s` → milliseconds. Units ms, s, m, h, d; a bare number is milliseconds. Else undefined. */
export function parseDuration(value: string | number): number | undefined {
  return parse(value, DURATIONS);
}

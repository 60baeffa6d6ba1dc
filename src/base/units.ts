const DECIMAL: Readonly<Record<string, number>> = { KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };
const BINARY: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** A single letter is a power of 1024 in either case, as in `docker run -m 64m` (go-units, RAMInBytes). */
const SIZES: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  ...DECIMAL,
  ...Object.fromEntries(
    Object.entries(BINARY).flatMap(([letter, bytes]) =>
      [letter, letter.toLowerCase(), `${letter}iB`].map((unit) => [unit, bytes]),
    ),
  ),
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
 * `64MiB` → bytes. Units KiB, MiB, GiB, TiB and k, m, g, t in either case (powers of 1024), KB, MB, GB, TB (of 1000) and
 * B; a bare number is bytes. Whole, not negative, exact in a double; else undefined.
 */
export function parseSize(value: string | number): number | undefined {
  return parse(value, SIZES);
}

/** `30s` → milliseconds. Units ms, s, m, h, d; a bare number is milliseconds. Else undefined. */
export function parseDuration(value: string | number): number | undefined {
  return parse(value, DURATIONS);
}

/** The largest unit that says a time without a fraction. */
function wholeUnit(ms: number): readonly [count: number, unit: string] {
  const unit = ['d', 'h', 'm', 's'].find((one) => ms % DURATIONS[one]! === 0) ?? 'ms';
  return [ms / DURATIONS[unit]!, unit];
}

const minutes = (unit: string): string => (unit === 'm' ? 'min' : unit);

/** Milliseconds as the configuration writes them: `5m`. */
export function formatDuration(ms: number): string {
  return wholeUnit(ms).join('');
}

/** Milliseconds for a sentence: `5 min`. */
export function durationInWords(ms: number): string {
  const [count, unit] = wholeUnit(ms);
  return `${count} ${minutes(unit)}`;
}

/** A time to wait, in milliseconds, for a sentence: rounded up to whole seconds, minutes or hours. */
export function waitInWords(ms: number): string {
  const unit = ms <= 119_000 ? 's' : ms <= 7_199_000 ? 'm' : 'h';
  return `${Math.max(1, Math.ceil(ms / DURATIONS[unit]!))} ${minutes(unit)}`;
}

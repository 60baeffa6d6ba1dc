const ISO =
  /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d{1,9})?)?)? ?(?:(Z|UTC|GMT)|([+-])(\d\d):?(\d\d))?$/;
/** 2100-01-01: what is later is no time in seconds. */
const LATEST = 4_102_444_800;

/**
 * Seconds since 1970 of a date as feeds write it: `2026-08-01`, `2026-08-01 10:00:00`, the same with ` UTC`, RFC 3339, or a
 * number of seconds or milliseconds. A date without a zone is UTC. 0 when it is none.
 */
export function epochSeconds(text: string): number {
  if (/^\d{9,13}$/.test(text)) {
    const number = Number(text);
    return number < LATEST ? number : number / 1000 < LATEST ? Math.floor(number / 1000) : 0;
  }
  if (text.length > 40) return 0;
  const match = ISO.exec(text);
  if (match === null) return 0;
  const field = (index: number): number => Number(match[index] ?? 0);
  if (
    field(2) < 1 ||
    field(2) > 12 ||
    field(3) < 1 ||
    field(3) > 31 ||
    field(4) > 24 ||
    field(5) > 59 ||
    field(6) > 60
  )
    return 0;
  const offset = (field(9) * 60 + field(10)) * 60 * (match[8] === '-' ? 1 : -1);
  const seconds = Date.UTC(field(1), field(2) - 1, field(3), field(4), field(5), field(6)) / 1000 + offset;
  return seconds > 0 && seconds < LATEST ? seconds : 0;
}

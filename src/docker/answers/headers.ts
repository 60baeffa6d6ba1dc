/** Headers that belong to one connection, not to the answer (RFC 9110 section 7.6.1). */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const HOP_LENGTHS = new Set([...HOP_BY_HOP].map((name) => name.length));

/**
 * The headers of an answer without those that belong to one connection (RFC 9110 section 7.6.1), by name and by
 * being listed in Connection.
 */
export function endToEnd(raw: readonly string[]): string[] {
  let listed: string[] | undefined;
  const headers: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!;
    if (HOP_LENGTHS.has(name.length)) {
      const lower = name.toLowerCase();
      if (lower === 'connection') (listed ??= []).push(...raw[i + 1]!.toLowerCase().split(/[ \t,]+/));
      if (HOP_BY_HOP.has(lower)) continue;
    }
    headers.push(name, raw[i + 1]!);
  }
  if (listed === undefined) return headers;
  return headers.filter((_, i) => !listed.includes(headers[i - (i % 2)]!.toLowerCase()));
}

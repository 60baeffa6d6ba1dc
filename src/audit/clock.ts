let lastTime = 0;
let lastText = '';

/** Now as RFC 3339 with milliseconds; formatted once per millisecond. */
export function timestamp(): string {
  const now = Date.now();
  if (now !== lastTime) {
    lastTime = now;
    lastText = new Date(now).toISOString();
  }
  return lastText;
}

/** `https://user:secret@host/` becomes `https://***@host/`. Linear: no nested repetition. */
export function maskCredentials(value: string): string {
  if (!value.includes('://') || !value.includes('@')) return value;
  return value.replace(/:\/\/[^/?#\s@]{1,512}@/g, '://***@');
}

const URL_REST = /(:\/\/[^/?#\s]{1,512})([/?#][^\s]*)/g;

/** The URLs of a text with `***` for these values, wherever they stand behind a host. Hosts are evidence, and stay. */
export function maskInUrls(text: string, values: readonly string[]): string {
  if (!text.includes('://')) return text;
  return text.replace(URL_REST, (_, host: string, rest: string) => {
    let shown = rest;
    for (const value of values) shown = shown.replaceAll(value, '***');
    return host + shown;
  });
}

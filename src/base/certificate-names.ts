/** What node tells of a verified certificate, as far as its names go. */
export interface NamedCertificate {
  readonly subject?: { readonly CN?: string | readonly string[] };
  readonly subjectaltname?: string | undefined;
}

/** The names in a certificate, each with its kind: `CN=a`, `DNS=a`, `IP=a`, `URI=a`, `EMAIL=a`. */
export function certificateNames({ subject, subjectaltname = '' }: NamedCertificate): readonly string[] {
  const common = [subject?.CN ?? []].flat().map((name) => `CN=${name}`);
  return [...common, ...alternativeNames(subjectaltname)];
}

const KINDS: Readonly<Record<string, string>> = {
  DNS: 'DNS',
  'IP Address': 'IP',
  URI: 'URI',
  email: 'EMAIL',
};

/**
 * Node prints the names as `DNS:a, URI:"quoted, as JSON"`: a name with a comma in it is quoted since
 * CVE-2021-44532. Splitting at commas alone would let one name pose as two.
 */
export function alternativeNames(printed: string): string[] {
  const names: string[] = [];
  for (const [, kind = '', quoted, plain] of printed.matchAll(
    /([^:,]+):(?:("(?:[^"\\]|\\.)*")|([^,]*))(?:, |$)/g,
  )) {
    const name = KINDS[kind];
    if (name !== undefined)
      names.push(`${name}=${quoted === undefined ? plain : String(JSON.parse(quoted))}`);
  }
  return names;
}

import { domainToASCII } from 'node:url';

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

/**
 * Reads a domain that may be reached, its subdomains included: `example.com`, `*.example.com` or `bücher.example`.
 *
 * @returns the canonical name (see indicator.ts); undefined for what is no domain.
 */
export function canonicalAllowed(value: string): string | undefined {
  const name = domainToASCII(value.replace(/^\*\./, '').replace(/\.$/, '')).toLowerCase();
  const labels = name.split('.');
  if (name.length > 253 || labels.length < 1 || !labels.every((label) => LABEL.test(label))) return undefined;
  // The last label of a name is never a number (RFC 3696): it would be read as an address.
  return /^\d+$/.test(labels.at(-1)!) ? undefined : name;
}

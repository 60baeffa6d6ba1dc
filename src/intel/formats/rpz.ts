import type { Indicator } from '../indicator.js';
import { quote, reject, type Run } from './run.js';
import type { Fit, Format } from './format.js';
import { linesOf } from './lines.js';
import type { Sample } from './sample.js';
import { indicatorsOf } from './values.js';

/** Response policy zones of name servers, as zone files. */
export const RPZ_FORMAT = { rpz: { detect: fits, parse: readZone } } satisfies Record<string, Format>;

/** What a policy that refuses an answer points at: no such name, no data, no answer at all. */
const REFUSALS = new Set(['.', '*.', 'rpz-drop.']);
const TYPES = new Set([
  'CNAME',
  'SOA',
  'NS',
  'A',
  'AAAA',
  'TXT',
  'MX',
  'PTR',
  'SRV',
  'DNAME',
  'RRSIG',
  'DNSKEY',
  'NSEC',
]);

function fits({ lines }: Sample): Fit {
  const zone = lines.some((line) => /^\$(?:TTL|ORIGIN)\s|\sSOA\s/i.test(line));
  return lines.some((line) => /\sCNAME\s+(?:\.|\*\.|rpz-\S+)(?:\s*;.*)?$/i.test(line)) ||
    (zone && /rpz/i.test(lines.join(' ')))
    ? 3
    : 0;
}

/**
 * `name CNAME .`, `*.name CNAME .`, `32.7.100.51.198.rpz-ip CNAME .`. Exceptions (`rpz-passthru.`) and answers put in the
 * place of others are left out, as are triggers by client and by name server.
 */
function* readZone(text: string, run: Run): Generator<Indicator> {
  let origin = '';
  let owner = '';
  let open = false;
  for (const line of linesOf(text, run)) {
    const entry = withoutZoneComment(line.text);
    const fields = entry.split(/\s+/);
    const [first = ''] = fields;
    if (open) {
      open = !entry.includes(')');
    } else if (/^\$ORIGIN$/i.test(first)) {
      origin = absolute(fields[1] ?? '') ?? origin;
    } else if (entry !== '' && !first.startsWith('$')) {
      // A record without an owner (it is that of the line before) begins with its type, time or class.
      const at = fields.findIndex((field, index) => index < 5 && TYPES.has(field.toUpperCase()));
      if (at > 0 && !/^(?:\d+[smhdw]?|IN)$/i.test(first)) owner = first;
      const type = fields[at]?.toUpperCase();
      open = entry.includes('(') && !entry.includes(')');
      if (type === undefined || owner === '') reject(run, line.number, `${quote(entry)} is no record`);
      else if (type === 'SOA') origin ||= absolute(owner) ?? '';
      else if (type !== 'CNAME' || !REFUSALS.has((fields[at + 1] ?? '').toLowerCase())) run.skipped++;
      else yield* readTrigger(relative(owner, origin), run, line.number);
    }
  }
}

function withoutZoneComment(line: string): string {
  const end = line.indexOf(';');
  return end < 0 ? line : line.slice(0, end).trimEnd();
}

function absolute(name: string): string | undefined {
  return name.endsWith('.') && name.length > 1 ? name.slice(0, -1).toLowerCase() : undefined;
}

/** An owner without the name of the zone, where it stands in full. */
function relative(owner: string, origin: string): string {
  const name = absolute(owner);
  if (name === undefined) return owner.toLowerCase();
  return origin !== '' && name.endsWith(`.${origin}`) ? name.slice(0, -origin.length - 1) : name;
}

function* readTrigger(name: string, run: Run, line: number): Generator<Indicator> {
  if (/\.rpz-(?:nsdname|nsip|client-ip)$/.test(name)) {
    run.skipped++;
  } else if (name.endsWith('.rpz-ip')) {
    yield* indicatorsOf('address', addressOf(name.slice(0, -'.rpz-ip'.length)), {}, run, line);
  } else {
    // A domain stands for all below it, so that `*.name` beside `name` says the same.
    yield* indicatorsOf('domain', name.replace(/^\*\./, ''), {}, run, line);
  }
}

/** `24.0.100.51.198` is 198.51.100.0/24, `48.zz.db8.2001` is 2001:db8::/48: length first, parts reversed. */
function addressOf(labels: string): string {
  const [bits = '', ...parts] = labels.split('.');
  parts.reverse();
  const sixth = parts.length !== 4 || parts.some((part) => /[a-z]/.test(part));
  const text = sixth ? parts.map((part) => (part === 'zz' ? '' : part)).join(':') : parts.join('.');
  const open = (parts[0] === 'zz' ? ':' : '') + text + (parts.at(-1) === 'zz' ? ':' : '');
  return `${sixth ? open : text}/${bits}`;
}

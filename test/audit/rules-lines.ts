import { isIP as ipVersion, isIPv4 } from 'node:net';

/*
 * Strict readers of the formats of one line each, from their published grammars: CEF 0 with the dictionary of its extension
 * (ArcSight), LEEF 2.0 (QRadar), RFC 5424 (syslog). They throw for what a receiver might read in another way.
 */

const isWhole = (value: string, last: number): boolean =>
  /^(0|[1-9]\d*)$/.test(value) && Number(value) <= last;
// No zone: receivers do not take `fe80::1%eth0`.
const isIP = (value: string): boolean => ipVersion(value) > 0 && !value.includes('%');
const isIPv6 = (value: string): boolean => isIP(value) && value.includes(':');
const isText = (most: number) => (value: string) => value.length <= most;
const isTime = (value: string): boolean => isWhole(value, 8.64e15);

/** The keys of CEF's dictionary that Breakwater writes: what their values may be, and how long. */
const DICTIONARY: Readonly<Record<string, (value: string) => boolean>> = {
  act: isText(63),
  c6a2: isIPv6,
  c6a2Label: isText(1023),
  c6a3: isIPv6,
  c6a3Label: isText(1023),
  cat: isText(1023),
  cnt: (value) => isWhole(value, 2 ** 31 - 1),
  dhost: isText(1023),
  dpt: (value) => isWhole(value, 65_535),
  dst: isIPv4,
  end: isTime,
  externalId: isText(40),
  flexString1: isText(1023),
  flexString1Label: isText(128),
  flexString2: isText(1023),
  flexString2Label: isText(128),
  msg: isText(1023),
  outcome: (value) => value === 'success' || value === 'failure',
  proto: isText(31),
  reason: isText(1023),
  requestMethod: isText(1023),
  rt: isTime,
  spt: (value) => isWhole(value, 65_535),
  src: isIPv4,
  start: isTime,
  suser: isText(1023),
};
for (let n = 1; n <= 6; n++) {
  Object.assign(DICTIONARY, { [`cs${n}`]: isText(4000), [`cs${n}Label`]: isText(1023) });
}
/** Version, vendor, product, version of it, event class, name, severity. */
const HEADER = [5, 63, 63, 31, 1023, 512, 2];

export interface Line {
  readonly header: readonly string[];
  readonly fields: ReadonlyMap<string, string>;
}

/** In the header `\|` and `\\` are the only escapes; in the extension `\=`, `\\`, `\n` and `\r`. @throws Error */
export function readCef(line: string): Line {
  if (/[\0-\x1f\x7f]/.test(line)) throw new Error('a control character');
  const header: string[] = [];
  let at = 0;
  for (let value = ''; header.length < 7; at++) {
    const one = line[at];
    if (one === undefined) throw new Error('the header ends too early');
    if (one === '|') {
      header.push(value);
      value = '';
    } else if (one === '\\') {
      const next = line[(at += 1)] ?? '';
      if (next !== '\\' && next !== '|') throw new Error(`\\${next} in the header`);
      value += next;
    } else value += one;
  }
  header.forEach((value, index) => {
    if (value === '' || value.length > HEADER[index]!) throw new Error(`header field ${index}: ${value}`);
  });
  if (!isWhole(header[6]!, 10)) throw new Error(`severity ${header[6]}`);
  return { header, fields: readExtension(line.slice(at)) };
}

function readExtension(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  // A key stands at the beginning or behind a blank; a `=` in a value is escaped, so what is left ends a key.
  const equals = [...text.matchAll(/\\.|=/g)].flatMap(({ 0: found, index }) =>
    found === '=' ? [index] : [],
  );
  let from = 0;
  equals.forEach((equal, index) => {
    const key = text.slice(from, equal);
    const next = equals[index + 1];
    const end = next === undefined ? text.length : text.lastIndexOf(' ', next);
    if (end < equal) throw new Error(`no blank before the key behind ${key}`);
    const value = text.slice(equal + 1, end).replace(/\\(.?)/g, (_, one: string) => {
      if (!'\\=nr'.includes(one) || one === '') throw new Error(`\\${one} in ${key}`);
      return one === 'n' ? '\n' : one === 'r' ? '\r' : one;
    });
    const check = DICTIONARY[key];
    if (check === undefined) throw new Error(`no key of the dictionary: ${key.slice(0, 50)}`);
    if (!check(value)) throw new Error(`${key}: ${value.slice(0, 50)} (${value.length} characters)`);
    if (fields.has(key)) throw new Error(`${key} twice`);
    fields.set(key, value);
    from = end + 1;
  });
  if (equals.length === 0) throw new Error('no extension');
  return fields;
}

/** The keys of the guide to LEEF that Breakwater writes; and its own, which the guide allows. */
const LEEF: Readonly<Record<string, (value: string) => boolean>> = {
  cat: (value) => value !== '',
  devTime: (value) => new Date(value).toISOString() === value,
  // SimpleDateFormat of Java, for what devTime holds.
  devTimeFormat: (value) => value === "yyyy-MM-dd'T'HH:mm:ss.SSSX",
  sev: (value) => isWhole(value, 10) && value !== '0',
  src: isIP,
  dst: isIP,
  srcPort: (value) => isWhole(value, 65_535),
  dstPort: (value) => isWhole(value, 65_535),
  proto: (value) => /^[A-Za-z0-9-]+$/.test(value),
  usrName: isText(255),
};
const OWN_LEEF =
  'eventUid action operation sources hazards sequences rule reason technique indicator container count msg dstName'.split(
    ' ',
  );

/** Six fields parted by bars, the last of which is the delimiter; no escapes anywhere. @throws Error */
export function readLeef(line: string): Line {
  if (/[\0-\x1f\x7f]/.test(line)) throw new Error('a control character');
  const parts = line.split('|');
  const header = parts.slice(0, 6);
  if (header[0] !== 'LEEF:2.0' || header.length < 6) throw new Error('no header of LEEF 2.0');
  if (header.includes('')) throw new Error('an empty header field');
  const delimiter = header[5]!;
  if (delimiter.length !== 1) throw new Error('a delimiter is one character');
  const fields = new Map<string, string>();
  for (const pair of parts.slice(6).join('|').split(delimiter)) {
    const equal = pair.indexOf('=');
    const key = pair.slice(0, equal);
    const value = pair.slice(equal + 1);
    const check = LEEF[key] ?? (OWN_LEEF.includes(key) ? isText(Infinity) : undefined);
    if (equal < 1 || check === undefined) throw new Error(`no key: ${pair.slice(0, 50)}`);
    if (value === '' || !check(value)) throw new Error(`${key}: ${value.slice(0, 50)}`);
    if (fields.has(key)) throw new Error(`${key} twice`);
    fields.set(key, value);
  }
  return { header, fields };
}

export interface SyslogLine {
  readonly priority: number;
  readonly time: string;
  readonly data: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly text: string;
}

/** Section 6 of RFC 5424: HEADER = PRI VERSION SP TIMESTAMP SP HOSTNAME SP APP-NAME SP PROCID SP MSGID. */
const SYSLOG =
  /^<(0|[1-9]\d{0,2})>1 (-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) ([\x21-\x7e]{1,255}) ([\x21-\x7e]{1,48}) ([\x21-\x7e]{1,128}) ([\x21-\x7e]{1,32}) /;
const SD_ID = /^\[([^\x00-\x20\x7f-\uffff="\]]{1,32})/;
/** In a PARAM-VALUE `"`, `\` and `]` are escaped, and nothing else is meant by a backslash. */
const SD_PARAM = /^ ([^\x00-\x20\x7f-\uffff="\]]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"/;

/** @throws Error for what the grammar does not know. */
export function readSyslog(message: string): SyslogLine {
  const head = SYSLOG.exec(message);
  if (head === null) throw new Error('no header of RFC 5424');
  const [whole, priority = '', time = ''] = head;
  if (Number(priority) > 191) throw new Error(`priority ${priority}`);
  if (time !== '-' && Number.isNaN(Date.parse(time))) throw new Error(`time ${time}`);
  let rest = message.slice(whole.length);
  const data: Record<string, Record<string, string>> = {};
  if (rest.startsWith('-')) rest = rest.slice(1);
  else {
    for (let element = SD_ID.exec(rest); element !== null; element = SD_ID.exec(rest)) {
      const params: Record<string, string> = {};
      rest = rest.slice(element[0].length);
      for (let param = SD_PARAM.exec(rest); param !== null; param = SD_PARAM.exec(rest)) {
        params[param[1]!] = param[2]!.replace(/\\(["\\\]])/g, '$1');
        rest = rest.slice(param[0].length);
      }
      if (!rest.startsWith(']')) throw new Error('structured data that does not end');
      rest = rest.slice(1);
      data[element[1]!] = params;
    }
    if (Object.keys(data).length === 0) throw new Error('no structured data');
  }
  if (rest !== '' && !rest.startsWith(' ')) throw new Error('no blank before the text');
  return { priority: Number(priority), time, data, text: rest.slice(1) };
}

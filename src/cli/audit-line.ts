import { stripVTControlCharacters } from 'node:util';
import type { TrailEvent } from '../app/audit.js';

/** ANSI colours by what a line is about; plain text where there is no terminal. */
const COLOURS = { deny: 31, allow: 32, alert: 33, quiet: 90 } as const;

type Paint = (colour: keyof typeof COLOURS, text: string) => string;

export function painter(colours: boolean): Paint {
  return (colour, text) => (colours ? `\u001b[${COLOURS[colour]}m${text}\u001b[0m` : text);
}

/** One event as a line to read. Nothing in it can move the cursor or colour the terminal. */
export function readableLine(event: TrailEvent, paint: Paint): string {
  const time = paint('quiet', show(event['time']).replace('T', ' ').replace('Z', ''));
  return `${time} ${(LINES.get(show(event['event'])) ?? otherLine)(event, paint)}`;
}

type Line = (event: TrailEvent, paint: Paint) => string;

const WORDS: Readonly<Record<string, Line>> = {
  decision(event, paint) {
    const allowed = event['verdict'] === 'allow';
    const verdict = paint(allowed ? 'allow' : 'deny', allowed ? 'allow' : 'deny ');
    const observed = event['enforced'] === false ? paint('alert', ' (observed only)') : '';
    const hazards = list(event['hazards']);
    const reason = allowed ? `rule ${show(event['rule'])}` : show(event['reason']);
    const what = show(event['operation']) || show(event['target']) || 'unreadable';
    const found = hazards === '' ? '' : ` [${hazards}]`;
    return `${verdict}${observed} ${who(event)} ${what}${named(event)}${found}: ${reason} ${id(event, paint)}`;
  },
  outcome(event, paint) {
    const status = `${show(event['status'])} ${show(event['end'])}`;
    const took = `${show(event['duration'])} ms`;
    return `${paint('quiet', 'end  ')} ${show(event['operation'])}: ${status}, ${took} ${id(event, paint)}`;
  },
  egress(event, paint) {
    const container = members(event['container']);
    const name = show(container['name']) || show(container['id']);
    const from = name === '' ? show(event['address']) || 'the host' : `container ${name}`;
    const maker = event['createdBy'];
    const made =
      maker === undefined ? '' : `, made by ${list(members(maker)['sources']) || 'an unknown client'}`;
    const to = `${show(event['name']) || show(event['destination'])} port ${show(event['port'])}`;
    const feed = show(event['feed']) === '' ? '' : ` (${show(event['indicator'])} of ${show(event['feed'])})`;
    const message = show(event['message']) === '' ? '' : `: ${show(event['message'])}`;
    const what = `${show(event['kind'])} ${show(event['action'])}`.trim();
    if (event['kind'] === 'notice') return `${paint('alert', 'egress')}${message}`;
    return `${paint('alert', what)} ${from}${made} to ${to}${feed}, ${show(event['count'])} times${message}`;
  },
  alert(event, paint) {
    const many = `${show(event['count'])} times`;
    const hazards = list(event['hazards']);
    const found = hazards === '' ? '' : ` [${hazards}]`;
    return `${paint('alert', `ALERT ${show(event['kind'])}`)}${found} ${many}: ${show(event['message'])}`;
  },
  checkpoint: (event, paint) => paint('quiet', `checkpoint up to record ${show(event['upTo'])}`),
  segment: (event, paint) => paint('quiet', `journal ${show(event['journal'])} goes on in a new file`),
  journal(event, paint) {
    const { kind, ...rest } = event;
    const said = Object.entries(rest).filter(([key]) => !COMMON.has(key));
    const details = said.map(([key, value]) => `${show(key)} ${show(value)}`).join(', ');
    return paint('alert', `journal ${show(kind)}: ${details}`);
  },
};
const LINES: ReadonlyMap<string, Line> = new Map(Object.entries(WORDS));

/** Members that every record has. */
const COMMON = new Set(['seq', 'hash', 'v', 'event', 'time', 'id']);

const otherLine: Line = (event) => show(JSON.stringify(event));

const id: Line = (event, paint) => paint('quiet', show(event['call']));

function who(event: TrailEvent): string {
  const client = members(event['client']);
  const sources = list(event['sources']);
  const address = show(client['address']) || show(client['listener']);
  return sources === '' ? address : `${sources} (${address})`;
}

function named(event: TrailEvent): string {
  const params = members(event['params']);
  const name = show(params['id'] ?? params['name'] ?? members(event['facts'])['image'] ?? '');
  return name === '' ? '' : ` ${name}`;
}

/** Members of a value of any type: the file need not come from this guard. */
const members = (value: unknown): TrailEvent =>
  typeof value === 'object' && value !== null ? (value as TrailEvent) : {};

const list = (value: unknown): string => (Array.isArray(value) ? value.map(show).join(' ') : '');

/** A value as text without control characters. */
function show(value: unknown): string {
  if (value === undefined || value === null) return '';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return stripVTControlCharacters(text).replace(
    /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    '\ufffd',
  );
}

import { asObject } from '../../base/json.js';
import { textOf } from './feed-fields.js';
import { walkJson } from './json-walk.js';
import { epochSeconds } from './times.js';

/** An event that a MISP feed offers; its document is `UUID.json` beside the manifest. */
export interface MispEvent {
  /** Checked to be one, lower-case: it becomes part of a URL and of a file name. */
  readonly uuid: string;
  /** Seconds since 1970. The event has to be fetched anew when it moves. */
  readonly timestamp: number;
}

const MAX_EVENTS = 1_000_000;

/** Reads `manifest.json` of a MISP feed, newest event first; a text says what is wrong with it. */
export function parseMispManifest(text: string): readonly MispEvent[] | string {
  const events: MispEvent[] = [];
  for (const item of walkJson(text, [['*']])) {
    if (item.kind === 'end') return `the manifest breaks off or is no JSON: ${item.reason}`;
    const [, uuid] = /^\/([\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12})$/i.exec(item.pointer) ?? [];
    const timestamp = item.kind === 'value' ? epochSeconds(textOf(asObject(item.value), 'timestamp')) : 0;
    if (uuid === undefined || timestamp === 0)
      return 'the manifest has an entry without a UUID or a timestamp';
    if (events.push({ uuid: uuid.toLowerCase(), timestamp }) > MAX_EVENTS)
      return `the manifest has over ${MAX_EVENTS} events`;
  }
  if (events.length === 0 && !/^\s*\{\s*\}\s*$/.test(text)) return 'the manifest is no JSON object';
  return events.sort((a, b) => b.timestamp - a.timestamp);
}

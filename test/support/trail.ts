import { readTrail, type TrailEvent } from '../../src/audit/trail.js';

/** The events of an audit trail one by one; undefined for a line that is none. */
export async function* trailEvents(path: string): AsyncGenerator<TrailEvent | undefined> {
  for await (const lines of readTrail(path)) for (const { event } of lines) yield event;
}

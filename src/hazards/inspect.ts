import type { Call } from '../docker/call.js';
import { named, newFindings, NOTHING, raise, state } from './findings.js';
import type { Inspection } from './inspection.js';

/** Turns a call into its facts and hazards. Pure; never throws on a well-typed call. */
export function inspect(call: Call): Inspection {
  const name = call.path['id'] ?? call.path['name'];
  if (call.unknown.length === 0) return name === undefined ? NOTHING : named(name);
  const found = newFindings();
  if (name !== undefined) state(found, 'name', name);
  for (const field of call.unknown) raise(found, 'unknown-field', field.where);
  return found;
}

import type { Hazard } from '../hazards/inspection.js';
import type { Permit } from './compiled.js';

/** At most this many uncovered hazards are collected of one rule: they are attacker-made and may be thousands. */
export const MAX_MISSING = 64;

// A path argument that is not in its shortest form could match `/srv/ci/**` and mean /etc.
const AMBIGUOUS_PATH = /(^|\/)\.{1,2}(\/|$)|\/\/|\0/;

/** Does the permit cover this hazard? */
export function covers(permit: Permit, hazard: Hazard): boolean {
  if (permit.all) return true;
  const kind = permit.kinds.get(hazard.kind);
  if (kind === undefined) return false;
  if (kind.any) return true;
  if (kind.path && AMBIGUOUS_PATH.test(hazard.argument)) return false;
  for (const glob of kind.globs) if (glob(hazard.argument)) return true;
  return false;
}

/** INVARIANT: an allow never passes a call with a hazard that its permit does not cover. */
export function coversAll(permit: Permit, hazards: readonly Hazard[]): boolean {
  for (const hazard of hazards) if (!covers(permit, hazard)) return false;
  return true;
}

/** The hazards that the permit does not cover, at most MAX_MISSING. */
export function uncovered(permit: Permit, hazards: readonly Hazard[]): Hazard[] {
  const missing: Hazard[] = [];
  for (const hazard of hazards) {
    if (covers(permit, hazard)) continue;
    missing.push(hazard);
    if (missing.length === MAX_MISSING) break;
  }
  return missing;
}

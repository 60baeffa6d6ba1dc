import type { Hazard } from '../hazards/inspection.js';

/** What policy says of one call. */
export interface Verdict {
  readonly effect: 'allow' | 'deny';
  /** Id of the rule that decided; for a denial by default, the nearest rule, or `""` when there is none. */
  readonly rule: string;
  /** True when the deciding file is in `observe` mode: a deny is logged and the call is forwarded anyway. */
  readonly observe: boolean;
  /** One sentence a user can act on: what was denied, why, and what would permit it. */
  readonly reason: string;
  /** Stable word: `allowed`, `deny-rule`, `no-rule`, `source`, `condition`, `hazard`. */
  readonly code: string;
  /** Hazards that no permit of the nearest rule covers. */
  readonly missing: readonly Hazard[];
}

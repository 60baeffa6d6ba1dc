import type { Call } from '../docker/call.js';
import type { Hazard } from '../hazards/inspection.js';
import type { Redaction } from './redaction.js';

/** The decision of the policy on one call. */
export interface Verdict {
  readonly effect: 'allow' | 'deny';
  /** Id of the rule that decided; for a denial by default, the nearest rule, or `""` when there is none. */
  readonly rule: string;
  /** True when the deciding file is in `observe` mode: a deny is logged and the call is forwarded anyway. */
  readonly observe: boolean;
  /** One sentence a user can act on: what was denied, why, and what would permit it. */
  readonly reason: string;
  /** Stable word: `allowed`, `deny-rule`, `no-rule`, `source`, `condition`, `hazard`, `rewrite`, `rate-limit`. */
  readonly code: string;
  /** Hazards that no permit of the nearest rule covers. */
  readonly missing: readonly Hazard[];
  /** The call to send in place of the received one, when a rule rewrote it. It was inspected, and it is what was allowed. */
  readonly call?: Call;
  /** How the answer is changed, when the rule that allows the call redacts it. */
  readonly redact?: Redaction;
  /** What was rewritten, `where: before → after`, bounded and with values masked that may be secrets; and what is redacted of the answer. */
  readonly rewrites: readonly string[];
}

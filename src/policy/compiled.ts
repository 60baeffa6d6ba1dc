import type { AnswerTransform } from '../docker/answers/transform.js';
import type { Call } from '../docker/call.js';
import type { OperationId } from '../docker/operation.js';
import type { Hazard } from '../hazards/inspection.js';
import type { Glob } from '../base/glob.js';
import type { Test } from './condition.js';
import type { NetworkIndex } from '../base/network.js';
import type { SourceQuotas } from './quotas.js';
import type { CompiledRewrite } from './rewrite.js';

/** What is known of a call from the head of its request. */
export type CallHead = Pick<Call, 'operation' | 'client'>;

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

/** How the answers to one operation are changed. Immutable, and shared by all calls. */
export interface Redaction {
  /** For the audit line, `answer: env, labels`; empty when answers to this operation hold nothing of what is redacted. */
  readonly rewrites: readonly string[];
  /**
   * What changes the body of an answer with success, which must be JSON; undefined: it passes as it is, because it is
   * content (logs, archives), or holds nothing of the kind.
   */
  readonly body: ((call: Call) => AnswerTransform) | undefined;
  /** The transformation for the body of an error answer, where that is JSON. */
  readonly error: () => AnswerTransform;
  /** The same for one that is plain text. */
  readonly errorText: (text: string) => string;
  /** The paths in headers; undefined: they are not redacted. */
  readonly path: ((text: string) => string) | undefined;
}

/** What a rule permits of one hazard kind. */
export interface PermittedKind {
  /** Every argument. */
  readonly any: boolean;
  readonly globs: readonly Glob[];
  /** Arguments are paths: one with `.`, `..` or empty segments is covered by `any` only. */
  readonly path: boolean;
  /** Patterns without a wildcard. */
  readonly exact: ReadonlySet<string>;
}

export interface Permit {
  /** `*`: every hazard there is. */
  readonly all: boolean;
  readonly kinds: ReadonlyMap<string, PermittedKind>;
}

export interface Condition {
  readonly fact: string;
  readonly test: Test;
  /** Does every readable call of this operation state the fact? */
  readonly stated: boolean;
  /** The condition as written, for messages. */
  readonly text: string;
}

/** One rule as it applies to one operation. */
export interface CompiledRule {
  readonly id: string;
  readonly description: string;
  /** Its file is in observe mode. */
  readonly observe: boolean;
  /** null: everyone. */
  readonly sources: ReadonlySet<string> | null;
  readonly where: readonly Condition[];
  readonly permit: Permit;
  /** How it changes the call that it allows; null: not at all. */
  readonly rewrite: CompiledRewrite | null;
  /** The verdict when this rule allows; made once, so that an allowed call allocates nothing. */
  readonly allowed: Verdict;
}

export interface OperationRules {
  /** Some rule has a condition about the owners of the objects that the call names. */
  readonly owner: boolean;
  readonly deny: readonly CompiledRule[];
  readonly allow: readonly CompiledRule[];
}

export interface CompiledSource {
  readonly name: string;
  /** It has a condition on the address: `networks` must name it for the client. */
  readonly usesCidr: boolean;
  readonly listener: readonly Glob[] | null;
  readonly certificate: readonly Glob[] | null;
  readonly token: ReadonlySet<string> | null;
  /** Rate limits; null: none. */
  readonly quotas: SourceQuotas | null;
}

/** A whole policy, ready to decide. Immutable; one snapshot serves a whole call. */
export interface CompiledPolicy {
  /** Number of files and of rules it was compiled from. */
  readonly files: number;
  readonly rules: number;
  /** Every file is in observe mode: then no denial is enforced. */
  readonly observe: boolean;
  readonly sources: readonly CompiledSource[];
  /** Names of the sources that rules limit to their own objects, in the order of `sources`; mostly none. */
  readonly owners: readonly string[];
  /** Those of them that have rate limits, by name. */
  readonly withQuotas: ReadonlyMap<string, CompiledSource>;
  /** Address → names of the sources whose `cidr` holds it. */
  readonly networks: NetworkIndex<string>;
  /** Only operations that some rule names. */
  readonly operations: ReadonlyMap<OperationId, OperationRules>;
}

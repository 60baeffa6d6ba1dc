import type { OperationId } from '../docker/operation.js';
import type { Glob } from '../base/glob.js';
import type { Test } from './condition.js';
import type { NetworkIndex } from '../base/network.js';
import type { SourceQuotas } from './quotas.js';
import type { CompiledRewrite } from './rewrite.js';
import type { Verdict } from './verdict.js';

/** What a rule permits of one hazard kind. */
export interface PermittedKind {
  /** Every argument. */
  readonly any: boolean;
  readonly globs: readonly Glob[];
  /** Arguments are paths: one with `.`, `..` or empty segments is covered by `any` only. */
  readonly path: boolean;
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

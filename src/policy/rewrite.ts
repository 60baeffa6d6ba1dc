import type { Call } from '../docker/call.js';
import { decodeJsonText } from '../docker/go-json.js';
import type { JsonValue } from '../base/json.js';
import { renderJson } from '../docker/render.js';
import { sameJson, startDraft, valueAt, type Step, type Variables } from './rewrite-draft.js';

/** The steps of one rule for one operation, in the order in which they are taken. */
export type CompiledRewrite = readonly Step[];

/** One difference between a call and what is sent in its place. */
export interface Change {
  /** JSON pointer into the body (`/HostConfig/Memory`), `?name` of a parameter, or `header name`. */
  readonly where: string;
  /** Undefined: there was nothing. */
  readonly before: JsonValue | undefined;
  /** Undefined: it is removed. */
  readonly after: JsonValue | undefined;
}

export interface Rewritten {
  /** The call itself, the same object, when there was nothing to change. */
  readonly call: Call;
  readonly changes: readonly Change[];
  /** Why the rewrite cannot be done, or `""`; the call must then not be sent. */
  readonly conflict: string;
}

const NO_CHANGES: readonly Change[] = [];

/**
 * Rewrites a call. Pure: the call is not changed, parts that stay the same are shared.
 * INVARIANT: rewriting what came out changes nothing more, so that what is judged is what is sent.
 */
export function applyRewrite(call: Call, rewrite: CompiledRewrite, variables: Variables): Rewritten {
  const draft = startDraft(call);
  for (const step of rewrite) {
    step(draft, variables);
    if (draft.conflict !== '') return { call, changes: NO_CHANGES, conflict: draft.conflict };
  }
  const changes: Change[] = [];
  for (const [where, place] of draft.touched) {
    const before = valueAt(call, place);
    const after = valueAt(draft.next, place);
    if (!sameJson(before, after)) changes.push({ where, before, after });
  }
  if (changes.length === 0)
    return { call: draft.next.ownAnswer === true ? draft.next : call, changes, conflict: '' };
  return { call: withUnknown(draft.next, changes), changes, conflict: '' };
}

/** Deeper than any body that a reader lets in; deeper is a refusal. */
const DEPTH = 1024;

/**
 * Unknown fields are collected again from the body that is sent: a rewrite may have removed some, and moved
 * others with what they are in. INVARIANT: none of them is forgotten. Those in parameters are gone with the parameter.
 */
function withUnknown(call: Call, changes: readonly Change[]): Call {
  if (call.unknown.length === 0) return call;
  const { body, operation } = call;
  const unknown = call.unknown.filter(
    (field) =>
      field.where.startsWith('?') &&
      !changes.some(({ where }) => field.where === where || field.where.startsWith(`${where}/`)),
  );
  if (body.kind === 'json' && operation.body.kind === 'json') {
    unknown.push(...decodeJsonText(renderJson(body.value), operation.body.schema, DEPTH, call.work).unknown);
  }
  return { ...call, unknown };
}

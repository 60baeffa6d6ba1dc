import type { AnswerTransform } from '../docker/answers/transform.js';
import type { Call } from '../docker/call.js';

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

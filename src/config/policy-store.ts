import { createHash } from 'node:crypto';
import {
  compilePolicy,
  type CompiledPolicy,
  type PolicyFile,
  type PolicyProblem,
} from '../policy/compile.js';
import type { Vocabulary } from '../policy/vocabulary.js';
import { readPolicyFiles, signPolicyFiles } from './policy-files.js';

/** One policy as it was loaded. Immutable: a judgement takes it once. */
export interface PolicySnapshot {
  readonly policy: CompiledPolicy;
  /** First 12 hex digits of the SHA-256 of all files. */
  readonly revision: string;
  readonly loadedAt: Date;
}

/** What a reload came to. Unchanged content is no event, unless it ends an error. */
export type PolicyEvent =
  | { readonly ok: true; readonly revision: string; readonly snapshot: PolicySnapshot }
  | { readonly ok: false; readonly problems: readonly PolicyProblem[]; readonly message: string };

export interface PolicyStore {
  /** The policy in force. */
  readonly current: PolicySnapshot;
  /** Why the files as they are now are not in force; undefined when they are. */
  lastError(): string | undefined;
  /** Checks the files now; resolves when they are loaded or found invalid. */
  reload(): Promise<void>;
  close(): void;
}

/** The files are no usable policy. `message` names the first problem. */
export class PolicyLoadError extends Error {
  readonly problems: readonly PolicyProblem[];

  constructor(problems: readonly PolicyProblem[]) {
    super(summarize(problems));
    this.name = 'PolicyLoadError';
    this.problems = problems;
  }
}

/** One line per problem, as `breakwater check` prints it: `file:pointer: message`. */
export function formatProblem(problem: PolicyProblem): string {
  const where = problem.pointer === '' ? problem.file : `${problem.file}:${problem.pointer}`;
  return where === '' ? problem.message : `${where}: ${problem.message}`;
}

function summarize(problems: readonly PolicyProblem[]): string {
  const first = problems[0];
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more problems)` : '';
  return first === undefined ? 'no policy' : `${formatProblem(first)}${more}`;
}

function revisionOf(files: readonly PolicyFile[]): string {
  const hash = createHash('sha256');
  for (const { text } of files) hash.update(`${Buffer.byteLength(text)}\0`).update(text);
  return hash.digest('hex').slice(0, 12);
}

async function load(paths: readonly string[], vocabulary: Vocabulary): Promise<PolicySnapshot> {
  const { files, problems } = await readPolicyFiles(paths);
  const compiled = compilePolicy(files, vocabulary);
  // A file that cannot be read may hold the deny rules: the rest alone is not the policy.
  const all = compiled.ok ? problems : [...problems, ...compiled.problems];
  if (!compiled.ok || all.length > 0) throw new PolicyLoadError(all);
  return { policy: compiled.policy, revision: revisionOf(files), loadedAt: new Date() };
}

/** How often the files are checked, and how long they must be unchanged before they are loaded. */
const POLL_INTERVAL_MS = 1_000;
const SETTLE_INTERVAL_MS = 150;
/** A file that changes all the time is loaded after this many polls. */
const MAX_UNSETTLED_POLLS = 20;

/**
 * Loads the policy and keeps it fresh. The files are polled: that notices renames, link swaps, and files that come
 * and go, on every file system. A reload is all or nothing.
 * INVARIANT: whatever happens to the files, the last good policy stays in force until a whole good one replaces it.
 *
 * @throws PolicyLoadError when the first load fails: there is no guard without a policy.
 */
export async function openPolicyStore(
  paths: readonly string[],
  vocabulary: Vocabulary,
  onEvent: (event: PolicyEvent) => void,
  interval: number = POLL_INTERVAL_MS,
): Promise<PolicyStore> {
  // Signed before it is read: a change in between shows at the next poll.
  let loaded = await signPolicyFiles(paths);
  const store = { current: await load(paths, vocabulary) };
  let error: string | undefined;
  let closed = false;
  let timer: NodeJS.Timeout | undefined;
  let pending: string | undefined;
  let unsettledPolls = 0;
  let work = Promise.resolve();

  const reload = async (): Promise<void> => {
    loaded = await signPolicyFiles(paths);
    try {
      const next = await load(paths, vocabulary);
      if (closed) return;
      const recovered = error !== undefined;
      error = undefined;
      if (next.revision === store.current.revision && !recovered) return;
      store.current = next;
      onEvent({ ok: true, revision: next.revision, snapshot: next });
    } catch (thrown) {
      if (closed) return;
      const problems = thrown instanceof PolicyLoadError ? thrown.problems : [];
      error = thrown instanceof Error ? thrown.message : String(thrown);
      onEvent({ ok: false, problems, message: error });
    }
  };

  /** One reload at a time, in order. */
  const enqueue = (step: () => Promise<void>): Promise<void> => {
    work = work.then(step, step);
    return work;
  };

  /** @returns milliseconds until the next poll */
  const look = async (): Promise<number> => {
    const now = await signPolicyFiles(paths);
    if (now === loaded) {
      pending = undefined;
      return interval;
    }
    // Wait until two polls in a row find the same: an editor may be in the middle of writing.
    unsettledPolls = pending === undefined ? 0 : unsettledPolls + 1;
    if (now !== pending && unsettledPolls < MAX_UNSETTLED_POLLS) {
      pending = now;
      return Math.min(SETTLE_INTERVAL_MS, interval);
    }
    pending = undefined;
    await reload();
    return interval;
  };

  const schedule = (delay: number): void => {
    if (closed) return;
    timer = setTimeout(() => {
      let wait = interval;
      const step = async (): Promise<void> => {
        wait = await look();
      };
      enqueue(step).then(
        () => schedule(wait),
        () => schedule(interval),
      );
    }, delay);
    timer.unref();
  };
  schedule(interval);

  return Object.assign(store, {
    lastError: () => error,
    reload: () => enqueue(reload),
    close() {
      closed = true;
      clearTimeout(timer);
    },
  });
}

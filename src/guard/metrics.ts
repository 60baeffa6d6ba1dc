import type { End } from './outcome.js';

/** What the guard counts: plain numbers, which are rendered only when somebody scrapes. */
export class Metrics {
  /** By operation, and by `allow` or `deny CODE`. */
  readonly decisions = new Map<string, Map<string, number>>();
  /** By `END STATUSxx`. */
  readonly outcomes = new Map<string, number>();
  readonly clientErrors = new Map<string, number>();
  /** By `SOURCE LIMIT`. */
  readonly overLimits = new Map<string, number>();
  readonly reloads = { ok: 0, failed: 0 };
  readonly connections = { open: 0, accepted: 0, dropped: 0 };
  readonly bytes = { in: 0, out: 0 };

  decision(operation: string, verdict: string, code: string): void {
    let byCode = this.decisions.get(operation);
    if (byCode === undefined) this.decisions.set(operation, (byCode = new Map<string, number>()));
    // The verdict follows from the code, so the key needs no joining on the hot path for the usual answer.
    add(byCode, verdict === 'allow' ? 'allow' : `deny ${code}`);
  }

  outcome(end: End, status: number): void {
    const key = end === 'complete' && status < 400 ? 'complete' : `${end} ${Math.floor(status / 100)}xx`;
    add(this.outcomes, key);
  }

  /** A connection that sent something that is not HTTP, or was too slow or too large, by reason. */
  clientError(reason: string): void {
    add(this.clientErrors, reason);
  }

  reload(ok: boolean): void {
    this.reloads[ok ? 'ok' : 'failed'] += 1;
  }

  /** A call was over a rate limit. The labels are names of the policy: clients cannot add any. */
  overLimit(source: string, limit: string): void {
    add(this.overLimits, `${source} ${limit}`);
  }
}

const add = (counts: Map<string, number>, key: string): void =>
  void counts.set(key, (counts.get(key) ?? 0) + 1);

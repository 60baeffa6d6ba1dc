import type { End, Exchange } from './exchange.js';
import type { GuardState } from './state.js';

/** audit(outcome): exactly once for each exchange, however it ended. */
export function finish(guard: GuardState, exchange: Exchange, status: number, end: End): void {
  if (exchange.finished) return;
  exchange.finished = true;
  exchange.cut = undefined;
  exchange.release?.();
  exchange.share?.close();
  if (exchange.held > 0) {
    guard.budget.give(exchange.held);
    exchange.held = 0;
  }
  guard.sequences.ended(exchange.id);
  guard.metrics.streams -= 1;
  guard.metrics.outcome(end, status);
  guard.metrics.bytes.in += exchange.bytesIn;
  guard.metrics.bytes.out += exchange.bytesOut;
  guard.audit.record({
    event: 'outcome',
    call: exchange.id,
    operation: exchange.reading?.operation.id ?? '',
    status,
    end,
    duration: Math.round((performance.now() - exchange.started) * 1000) / 1000,
    bytesIn: exchange.bytesIn,
    bytesOut: exchange.bytesOut,
  });
  exchange.next?.();
}

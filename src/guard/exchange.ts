import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { UpgradeInput } from '../capture/upgrade-input.js';
import type { Call, Client } from '../docker/call.js';
import type { HeadReading } from '../docker/read.js';
import type { Refusal } from '../docker/refusal.js';
import type { Share } from './limits.js';
import type { AnswerChanger } from './answer.js';

/** How a call ended, as the outcome line and the metrics name it. */
export type End = 'complete' | 'refused' | 'client-gone' | 'upstream-error' | 'upstream-timeout' | 'shutdown';

/**
 * One request on its way through the pipeline, with what has been found out so far. The only mutable thing of a
 * call; the steps themselves are functions.
 */
export interface Exchange {
  readonly id: string;
  /** `performance.now()` when the head had arrived. */
  readonly started: number;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly socket: Socket;
  readonly client: Client;
  /** What follows the head of a request that asks for an upgrade; undefined on an ordinary request. */
  readonly upgrade: UpgradeInput | undefined;
  /** The client waits for `100 Continue` before it sends the body. */
  readonly expectsContinue: boolean;
  reading: HeadReading | undefined;
  call: Call | undefined;
  /** Its part in the rate limits of its caller's sources; undefined without such limits, and before it is known. */
  share: Share | undefined;
  /** How the engine's answer is changed; undefined: it passes as it is. */
  changeAnswer: AnswerChanger | undefined;
  /** Bytes of a buffered body that must go back to the budget. */
  held: number;
  bytesIn: number;
  bytesOut: number;
  /** Lets go of the names that the call holds for its owner. */
  release: (() => void) | undefined;
  /** Ends the upstream side; set while there is one. */
  cut: ((end: End) => void) | undefined;
  /** The answer says that the connection closes: whatever is pipelined behind it is not served. */
  closing: boolean;
  /** What the HTTP parser found wrong with the rest of this request. */
  unreadable: Refusal | undefined;
  /** True once the outcome is on record. */
  finished: boolean;
  /** Starts the next pipelined request of the connection. */
  next: (() => void) | undefined;
}

/** Random per process, so that ids of two runs never meet. */
const run = Math.random().toString(36).slice(2, 8).padEnd(6, '0') + Date.now().toString(36).slice(-4);
let counter = 0;

/** A call id: unique, short enough to read out over the phone. */
export function nextCallId(): string {
  counter += 1;
  return `${run}-${counter.toString(36)}`;
}

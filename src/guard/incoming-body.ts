import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import type { BodyBudget } from '../capture/body-budget.js';
import { takeWhole, type BufferLimits } from '../capture/buffer-body.js';
import type { BodyFraming } from '../capture/framed-body.js';
import type { UpgradeInput } from '../capture/upgrade-input.js';
import type { IncomingBody } from './incoming.js';

/** The body of an ordinary request: node's HTTP parser takes it apart. */
export class PlainBody implements IncomingBody {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #expectsContinue: boolean;

  constructor(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean) {
    this.#request = request;
    this.#response = response;
    this.#expectsContinue = expectsContinue;
  }

  get isComplete(): boolean {
    return this.#request.complete;
  }

  takeWhole(limits: BufferLimits, budget: BodyBudget): Buffer | undefined {
    return this.#expectsContinue ? undefined : takeWhole(this.#request, limits, budget);
  }

  open(): Readable {
    if (this.#expectsContinue) this.#response.writeContinue();
    return this.#request;
  }

  discard(): void {
    if (!this.#request.complete) this.#request.resume();
  }
}

/** The body of a request with an `Upgrade` header. */
export class UpgradedBody implements IncomingBody {
  readonly isComplete = false;
  readonly #input: UpgradeInput;
  readonly #response: ServerResponse;
  readonly #expectsContinue: boolean;

  constructor(input: UpgradeInput, response: ServerResponse, expectsContinue: boolean) {
    this.#input = input;
    this.#response = response;
    this.#expectsContinue = expectsContinue;
  }

  takeWhole(): undefined {
    return undefined;
  }

  open(framing: BodyFraming): Readable {
    if (this.#expectsContinue) this.#response.writeContinue();
    return this.#input.body(framing);
  }

  discard(): void {}
}

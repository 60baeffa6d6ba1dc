import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { BodyFraming } from '../capture/framed-body.js';
import type { UpgradeInput } from '../capture/upgrade-input.js';
import { HttpReply } from './http-reply.js';

/**
 * The answer to a request with an `Upgrade` header. The HTTP server has let go of the connection: it serves this one
 * request, and it may become a raw stream in both directions.
 */
export class HijackReply extends HttpReply {
  readonly #input: UpgradeInput;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    expectsContinue: boolean,
    input: UpgradeInput,
  ) {
    super(request, response, expectsContinue);
    this.#input = input;
  }

  protected override isUnread(): boolean {
    return true;
  }

  /** What follows the request is never read as another one. */
  protected override closesAfterRefusal(): boolean {
    return true;
  }

  /** The listener ends the connection, as after any other answer on it. */
  protected override discardBody(): void {}

  override streamBehind(framing: BodyFraming): Readable {
    return this.#input.rest(framing);
  }

  override takeConnection(): Socket {
    this.listen(undefined);
    this.response.removeAllListeners('close');
    this.response.detachSocket(this.socket);
    return this.socket;
  }
}

import type { Readable } from 'node:stream';
import { framedBody } from '../capture/framed-body.js';
import type { Exchange } from './exchange.js';

/**
 * The request body as a stream: node's own framing on an ordinary request, ours on an upgraded one. Call it once
 * per request. Answers `100 Continue` to a client that waits for it: nobody needs to send a body before this.
 */
export function bodyOf(exchange: Exchange): Readable {
  if (exchange.expectsContinue) exchange.response.writeContinue();
  if (exchange.upgradeHead === undefined) return exchange.request;
  return framedBody(exchange.socket, exchange.upgradeHead, exchange.reading!.framing);
}

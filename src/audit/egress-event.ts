import { list, text } from './json-text.js';

/** The container that an event is about. */
export interface EgressContainer {
  readonly id: string;
  readonly name: string;
  readonly image: string;
}

/** The call that made the container, as in that call's own lines. */
export interface EgressCreator {
  readonly call: string;
  readonly operation: string;
  readonly sources: readonly string[];
  readonly client: string;
}

/**
 * Outbound traffic to a listed destination. `attempt`: it was blocked, or only observed. `sweep`: it happened before the
 * indicator was listed. `response`: what was done with the container. `notice`: the state of the blocking itself.
 */
export interface EgressEvent {
  readonly event: 'egress';
  /** The same when the same event is reported again. */
  readonly id: string;
  readonly kind: 'attempt' | 'sweep' | 'response' | 'notice';
  /** `blocked`, `observed`; of a response `pause`, `stop`, `disconnect`; else empty. */
  readonly action: string;
  /** What noticed it: `address`, `dns`, `gateway`, `policy`; else empty. */
  readonly via: string;
  /** Address that it came from; one of the host itself where no container is named. */
  readonly address: string;
  readonly container: EgressContainer | undefined;
  readonly createdBy: EgressCreator | undefined;
  /** Address or name of the destination. */
  readonly destination: string;
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
  readonly count: number;
  /** RFC 3339; when it was first and last seen. */
  readonly first: string;
  readonly last: string;
  readonly indicator: string;
  readonly type: string;
  readonly feed: string;
  readonly confidence: number;
  readonly threat: string;
  /** In words, of a response or a notice. */
  readonly message: string;
}

/** One JSON line, see formatEvent. */
export function formatEgress(event: EgressEvent, time: string): string {
  const { container, createdBy } = event;
  return (
    `{"v":1,"event":"egress","time":"${time}","id":${text(event.id)},"kind":"${event.kind}",` +
    `"action":${text(event.action)},"via":${text(event.via)},"address":${text(event.address)},` +
    (container === undefined
      ? ''
      : `"container":{"id":${text(container.id)},"name":${text(container.name)},"image":${text(container.image)}},`) +
    (createdBy === undefined
      ? ''
      : `"createdBy":{"call":${text(createdBy.call)},"operation":${text(createdBy.operation)},` +
        `"sources":${list(createdBy.sources)},"client":${text(createdBy.client)}},`) +
    `"destination":${text(event.destination)},"name":${text(event.name)},"protocol":${text(event.protocol)},` +
    `"port":${event.port},"count":${event.count},"first":${text(event.first)},"last":${text(event.last)},` +
    `"indicator":${text(event.indicator)},"type":${text(event.type)},"feed":${text(event.feed)},` +
    `"confidence":${event.confidence},"threat":${text(event.threat)},"message":${text(event.message)}}\n`
  );
}

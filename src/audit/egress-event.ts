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

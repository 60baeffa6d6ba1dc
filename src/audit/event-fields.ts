import type { AlertEvent } from './alert-event.js';
import type { Checkpoint } from './checkpoint.js';
import type { EgressEvent } from './egress-event.js';
import type { DecisionEvent, OutcomeEvent } from './event.js';

/** What one field of a record is: its JSON type, and its meaning as Markdown. */
export type Field = readonly [type: 'text' | 'number' | 'boolean' | 'list' | 'object', meaning: string];

/** The fields of a record of type E, in the order in which they stand in it. One that E has and the table lacks does not compile. */
type Fields<E> = Readonly<Record<Exclude<keyof E, 'event' | 'id'>, Field>> & Readonly<Record<string, Field>>;

/** Every record. */
const RECORD: Readonly<Record<string, Field>> = {
  seq: ['number', 'place in the journal, from 1 without a gap; not in a plain audit file'],
  hash: [
    'text',
    'SHA-256 over the hash of the record before, a line end, and this line without its hash; not in a plain file',
  ],
  v: ['number', '1'],
  event: ['text', '`decision`, `outcome`, `egress`, `alert`, `journal`, `segment`, `checkpoint`'],
  time: ['text', 'RFC 3339 in UTC with milliseconds; when it was written'],
  id: [
    'text',
    "the same whenever the record is sent: the call's id with `.d` or `.o`, the journal's with a number, or its own",
  ],
};

const DECISION: Fields<DecisionEvent> = {
  call: [
    'text',
    'id of the call: also in its outcome, in the response to the client, and in `createdBy` of what its container does',
  ],
  client: [
    'object',
    'who came: `listener` (its name), `address` and `port` (empty and 0 on a unix socket), `certificate` (its names, where there is one), `token` (half of its SHA-256, where there is one)',
  ],
  sources: ['list', 'sources of the policy that the client belongs to'],
  method: ['text', 'HTTP method; empty for what is no request'],
  operation: ['text', 'operationId of the Engine API; empty for what could not be read that far'],
  apiVersion: ['text', 'version in the path; empty for none'],
  params: ['object', 'texts: what the path names'],
  target: [
    'text',
    'the path of the request, and the names of its known parameters; only where it could not be read',
  ],
  facts: [
    'object',
    'what the call states: texts, numbers, booleans, lists of texts; see [hazards and facts](hazards.md)',
  ],
  hazards: ['list', '`kind` or `kind:argument`, see [hazards and facts](hazards.md)'],
  indicators: [
    'list',
    'objects, one for each listed indicator that stands in the call, those that only alert too; absent without any. `indicator` (the listed value), `type` (`ipv4`, `ipv6`, `domain`, `url`, `hash`), `feed`, `confidence` (0 to 100), `threat`, `action` (`block`, `alert`), `where` it stood, `value` as it read there. At most 50',
  ],
  indicatorCount: ['number', 'how many there were, when there are more'],
  sequences: [
    'list',
    'objects, one for each attack in several calls that this call completes, those that only alert too; absent without any. `sequence` (`build-and-run`, `pull-and-escape`, `exec-spread`, `probing`), `action` (`deny`: it is among `hazards` as well, and policy decided; `alert`: it is on record only), `calls` (ids of the calls that led to it, oldest first), `since` (RFC 3339: when the first of them was)',
  ],
  verdict: ['text', '`allow`, `deny`'],
  enforced: ['boolean', 'false in observe mode: a denial is on record, the call was forwarded'],
  rule: ['text', 'the rule that decided, of a denial the nearest one; empty for none'],
  code: [
    'text',
    'why, for machines: `allowed`, `no-rule`, `source`, `condition`, `hazard`, `deny-rule`, `rewrite`, or what was wrong with the request',
  ],
  reason: ['text', 'why, for people; empty for an allow'],
  rewrites: ['list', 'what the policy changed in the call'],
  policy: ['text', 'revision of the policy'],
};

const OUTCOME: Fields<OutcomeEvent> = {
  call: ['text', 'id of the call'],
  operation: ['text', 'as in the decision'],
  status: ['number', 'HTTP status that the client was sent; 0 when it left before there was one'],
  end: ['text', '`complete`, `refused`, `client-gone`, `upstream-error`, `upstream-timeout`, `shutdown`'],
  duration: ['number', 'milliseconds since the head of the request'],
  bytesIn: ['number', 'bytes of bodies from the client, of both directions of a stream'],
  bytesOut: ['number', 'bytes of bodies to the client'],
};

const EGRESS: Fields<EgressEvent> = {
  kind: [
    'text',
    '`attempt`; `sweep`: it was before the indicator was listed; `response`: what was done with the container; `notice`: how the blocking itself fares',
  ],
  action: ['text', '`blocked`, `observed`; of a response `pause`, `stop`, `disconnect`; else empty'],
  via: ['text', 'what noticed it: `address`, `dns`, `gateway`, `policy`'],
  address: ['text', 'where it came from'],
  container: ['object', '`id`, `name`, `image`; absent where none is known'],
  createdBy: [
    'object',
    'the call that made the container: `call`, `operation`, `sources`, `client` (an address); absent where it is not known',
  ],
  destination: ['text', 'address that it tried to reach; may be empty'],
  name: ['text', 'name that it tried to reach; may be empty'],
  protocol: ['text', '`tcp`, `udp` …'],
  port: ['number', '0 for none'],
  count: ['number', 'how often since the last record of it'],
  first: ['text', 'RFC 3339: when it was first seen'],
  last: ['text', 'RFC 3339: when it was last seen'],
  indicator: ['text', 'listed value; empty for what a network policy alone refused'],
  type: ['text', '`ipv4`, `ipv6`, `domain`, `url`; empty without an indicator'],
  feed: ['text', 'feed that lists it'],
  confidence: ['number', '0 to 100'],
  threat: ['text', 'malware family or category'],
  message: ['text', 'of a response or a notice'],
};

const ALERT: Fields<AlertEvent> = {
  kind: [
    'text',
    '`denied`, `unreadable`, `indicator`, `sequence`, `egress`, `audit`; see [alerts](../how-to/siem.md#alerts)',
  ],
  action: ['text', '`blocked`; `observed` where it was let through; absent of `audit`'],
  client: [
    'object',
    'who called, where it was one client: `listener` (its name), `address` (empty on a unix socket), `network` (of IPv6: the /64 that is counted as one)',
  ],
  address: ['text', 'of `egress`, where it was one container: where it came from'],
  container: ['object', 'of `egress`, where it was one that is known: `id`, `name`, `image`'],
  addresses: [
    'number',
    'how many clients or containers did the same; absent where it was the one that is named',
  ],
  sources: ['list', 'sources of the last one'],
  operation: ['text', 'operationId, where it was one; else empty'],
  operations: ['list', 'the first eight, where there was more than one'],
  code: ['text', 'of the decisions; of `egress` what noticed it (`via`); `audit`'],
  rule: ['text', 'rule of the last decision; absent for none'],
  hazards: ['list', 'the first eight, with `sequence:…` for attacks in several calls; absent without any'],
  indicators: ['list', 'objects, the first eight, as in a decision; absent without any'],
  count: ['number', 'how many, since the window began'],
  first: ['text', 'RFC 3339: the first of them'],
  last: ['text', 'RFC 3339: the last of them'],
  window: ['number', 'milliseconds that are summed up'],
  message: ['text', 'all of it in words'],
};

const JOURNAL: Readonly<Record<string, Field>> = {
  kind: [
    'text',
    '`repaired`: at a start something was not as it was left; `recovered`: it can be written again; `removed`: old records are gone',
  ],
  torn: ['number', '`repaired`: bytes of a last record that a crash or a power loss left half'],
  damage: ['text', '`repaired`: a record that is not what was written, in words; absent without any'],
  late: ['number', '`recovered`: records that are written only now'],
  lost: ['number', '`recovered`: records that there was no memory for'],
  upTo: ['number', '`removed`: number of the last record that is gone'],
  undelivered: ['number', '`removed`: how many of them a sink had not delivered'],
};

const SEGMENT: Fields<Omit<Checkpoint, 'seq' | 'hash'>> = {
  journal: ['text', 'id of the journal'],
  previous: ['text', '`segment`: hash of the record before; 64 zeros for the first'],
  upTo: ['number', '`checkpoint`: number of the record that it is about'],
  head: ['text', '`checkpoint`: hash of that record'],
  key: ['text', '`checkpoint`: first 16 hex digits of the SHA-256 of the public key'],
  signature: [
    'text',
    '`checkpoint`: Ed25519 over `breakwater audit checkpoint`, journal, number, hash, one a line; base64',
  ],
};

/** What is written into the audit trail, by the values of `event`: when, and with what fields. */
export const RECORD_FIELDS: readonly {
  readonly title: string;
  readonly fields: Readonly<Record<string, Field>>;
}[] = [
  { title: 'Every record', fields: RECORD },
  { title: '`decision`, written before the verdict takes effect', fields: DECISION },
  { title: '`outcome`, when the call is over', fields: OUTCOME },
  {
    title: '`egress`, of the outbound side ([outbound blocking](../explanation/egress.md))',
    fields: EGRESS,
  },
  { title: '`alert`, what the guard summed up ([alerts](../how-to/siem.md#alerts))', fields: ALERT },
  { title: '`journal`, what the journal says of itself', fields: JOURNAL },
  {
    title: '`segment`, the first record of each file, and `checkpoint`, a signed statement of the head',
    fields: SEGMENT,
  },
];

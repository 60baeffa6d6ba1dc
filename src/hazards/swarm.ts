import type { Call } from '../docker/call.js';
import { type JsonValue, asNumber, asObject, asString, asStrings } from '../base/json.js';
import { checkBound } from './engine-load.js';
import { addHazard, setFact, type Findings } from './inspection.js';
import {
  bounded,
  checked,
  duration,
  each,
  eachString,
  fields,
  flag,
  inspectFields,
  keptTexts,
  object,
  ownText,
  text,
  whenSet,
  withOthers,
  type Fields,
  type FieldInspector,
} from './field-inspectors.js';
import { serviceLogDriver } from './logging.js';

const address = (role: string): FieldInspector =>
  text((value, findings) => addHazard(findings, 'swarm-address', `${role}=${value}`));

const SPEC = fields({
  Name: ownText,
  Labels: keptTexts,
  Orchestration: object(fields({ TaskHistoryRetentionLimit: bounded('task-history') })),
  Raft: object(
    fields({
      SnapshotInterval: bounded('raft-snapshots'),
      KeepOldSnapshots: bounded('raft-kept'),
      LogEntriesForSlowFollowers: bounded('raft-kept'),
      // Managers take no others than those they were made with (swarmkit manager/controlapi/cluster.go).
      ElectionTick: checked,
      HeartbeatTick: checked,
    }),
  ),
  Dispatcher: object(fields({ HeartbeatPeriod: duration('heartbeat') })),
  CAConfig: object(
    fields({
      // An hour at the least.
      NodeCertExpiry: checked,
      ExternalCAs: each((ca, findings) => addHazard(findings, 'external-ca', asString(asObject(ca)['URL']))),
      SigningCACert: whenSet((findings) => addHazard(findings, 'external-ca', 'signing-certificate')),
      SigningCAKey: whenSet((findings) => addHazard(findings, 'external-ca', 'signing-key')),
      ForceRotate: checked,
    }),
  ),
  EncryptionConfig: flag,
  TaskDefaults: object(fields({ LogDriver: serviceLogDriver })),
});

// DefaultAddrPool takes address ranges as a network's IPAM configuration does.
const ADDRESSES: Readonly<Record<string, FieldInspector>> = {
  ListenAddr: address('listen'),
  AdvertiseAddr: address('advertise'),
  DataPathAddr: address('data'),
};

const INIT = fields(ADDRESSES, {
  DataPathPort: checked,
  DefaultAddrPool: eachString((pool, findings) => addHazard(findings, 'subnet', pool)),
  SubnetSize: withOthers,
  ForceNewCluster: whenSet((findings) => addHazard(findings, 'swarm', 'force-new-cluster')),
  AutoLockManagers: flag,
  Availability: checked,
  Spec: object(SPEC),
});

const JOIN = fields(ADDRESSES, {
  RemoteAddrs: eachString((value, findings) => addHazard(findings, 'swarm-address', `remote=${value}`)),
  JoinToken: ownText,
  Availability: checked,
});

const BODIES: Readonly<Record<string, Fields>> = { init: INIT, join: JOIN, update: SPEC };

/** How many subnets the pools of a new cluster are cut into; without pools it is 10.0.0.0/8. */
function inspectSubnets(body: JsonValue, findings: Findings): void {
  const { DefaultAddrPool, SubnetSize } = asObject(body);
  const sizes = asStrings(DefaultAddrPool).map((pool) => Number(pool.split('/')[1] ?? 32));
  const size = asNumber(SubnetSize) || 24;
  checkBound('swarm-subnets', 2 ** (size - Math.min(...(sizes.length === 0 ? [8] : sizes))), findings);
}

/** An operation on the cluster itself: the action is the hazard, its body adds more. */
export function inspectSwarm(body: JsonValue, findings: Findings, { operation }: Call): void {
  const action = operation.does.swarmAction!;
  addHazard(findings, 'swarm', action);
  if (action === 'init') inspectSubnets(body, findings);
  const inspectors = BODIES[action];
  if (inspectors !== undefined) inspectFields(inspectors, body, findings, '');
}

const driver = object(
  fields({
    Name: text((name, findings) => addHazard(findings, 'secret-driver', name)),
    Options: keptTexts,
  }),
);
const STORED = fields({
  Name: ownText,
  Labels: keptTexts,
  // 500 KB of a secret, 1,000 KB of a config at the most.
  Data: checked,
  Driver: driver,
  Templating: driver,
});

export function inspectSecret(body: JsonValue, findings: Findings): void {
  setFact(findings, 'secret.name', asString(asObject(body)['Name']));
  inspectFields(STORED, body, findings, '');
}

export function inspectConfig(body: JsonValue, findings: Findings): void {
  setFact(findings, 'config.name', asString(asObject(body)['Name']));
  inspectFields(STORED, body, findings, '');
}

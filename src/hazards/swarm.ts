import type { Call } from '../docker/call.js';
import { type JsonValue, asObject, asString } from '../base/json.js';
import { addHazard, setFact, type Findings } from './findings.js';
import {
  each,
  eachString,
  fields,
  harmless,
  inspectFields,
  object,
  text,
  whenSet,
  type Fields,
  type FieldInspector,
} from './field-inspectors.js';
import { serviceLogDriver } from './logging.js';

const address = (role: string): FieldInspector =>
  text((value, found) => addHazard(found, 'swarm-address', `${role}=${value}`));

const SPEC = fields({
  Name: harmless,
  Labels: harmless,
  Orchestration: harmless,
  Raft: harmless,
  Dispatcher: harmless,
  CAConfig: object(
    fields({
      NodeCertExpiry: harmless,
      ExternalCAs: each((ca, found) => addHazard(found, 'external-ca', asString(asObject(ca)['URL']))),
      SigningCACert: whenSet((found) => addHazard(found, 'external-ca', 'signing-certificate')),
      SigningCAKey: whenSet((found) => addHazard(found, 'external-ca', 'signing-key')),
      ForceRotate: harmless,
    }),
  ),
  EncryptionConfig: harmless,
  TaskDefaults: object(fields({ LogDriver: serviceLogDriver })),
});

// DefaultAddrPool takes address ranges as a network's IPAM configuration does.
const ADDRESSES: Readonly<Record<string, FieldInspector>> = {
  ListenAddr: address('listen'),
  AdvertiseAddr: address('advertise'),
  DataPathAddr: address('data'),
};

const INIT = fields(ADDRESSES, {
  DataPathPort: harmless,
  DefaultAddrPool: eachString((pool, found) => addHazard(found, 'subnet', pool)),
  SubnetSize: harmless,
  ForceNewCluster: whenSet((found) => addHazard(found, 'swarm', 'force-new-cluster')),
  AutoLockManagers: harmless,
  Availability: harmless,
  Spec: object(SPEC),
});

const JOIN = fields(ADDRESSES, {
  RemoteAddrs: eachString((value, found) => addHazard(found, 'swarm-address', `remote=${value}`)),
  JoinToken: harmless,
  Availability: harmless,
});

const BODIES: Readonly<Record<string, Fields>> = { init: INIT, join: JOIN, update: SPEC };

/** An operation on the cluster itself: the action is the hazard, its body adds more. */
export function inspectSwarm(body: JsonValue, found: Findings, { operation }: Call): void {
  const action = operation.does.swarmAction!;
  addHazard(found, 'swarm', action);
  const inspectors = BODIES[action];
  if (inspectors !== undefined) inspectFields(inspectors, body, found, '');
}

const driver = object(
  fields({
    Name: text((name, found) => addHazard(found, 'secret-driver', name)),
    Options: harmless,
  }),
);
const STORED = fields({
  Name: harmless,
  Labels: harmless,
  Data: harmless,
  Driver: driver,
  Templating: driver,
});

export function inspectSecret(body: JsonValue, found: Findings): void {
  setFact(found, 'secret.name', asString(asObject(body)['Name']));
  inspectFields(STORED, body, found, '');
}

export function inspectConfig(body: JsonValue, found: Findings): void {
  setFact(found, 'config.name', asString(asObject(body)['Name']));
  inspectFields(STORED, body, found, '');
}

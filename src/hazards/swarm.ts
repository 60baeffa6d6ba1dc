import type { Call } from '../docker/call.js';
import { type JsonValue, asObject, asString } from '../base/json.js';
import { addHazard, setFact, type Findings } from './inspection.js';
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
  text((value, findings) => addHazard(findings, 'swarm-address', `${role}=${value}`));

const SPEC = fields({
  Name: harmless,
  Labels: harmless,
  Orchestration: harmless,
  Raft: harmless,
  Dispatcher: harmless,
  CAConfig: object(
    fields({
      NodeCertExpiry: harmless,
      ExternalCAs: each((ca, findings) => addHazard(findings, 'external-ca', asString(asObject(ca)['URL']))),
      SigningCACert: whenSet((findings) => addHazard(findings, 'external-ca', 'signing-certificate')),
      SigningCAKey: whenSet((findings) => addHazard(findings, 'external-ca', 'signing-key')),
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
  DefaultAddrPool: eachString((pool, findings) => addHazard(findings, 'subnet', pool)),
  SubnetSize: harmless,
  ForceNewCluster: whenSet((findings) => addHazard(findings, 'swarm', 'force-new-cluster')),
  AutoLockManagers: harmless,
  Availability: harmless,
  Spec: object(SPEC),
});

const JOIN = fields(ADDRESSES, {
  RemoteAddrs: eachString((value, findings) => addHazard(findings, 'swarm-address', `remote=${value}`)),
  JoinToken: harmless,
  Availability: harmless,
});

const BODIES: Readonly<Record<string, Fields>> = { init: INIT, join: JOIN, update: SPEC };

/** An operation on the cluster itself: the action is the hazard, its body adds more. */
export function inspectSwarm(body: JsonValue, findings: Findings, { operation }: Call): void {
  const action = operation.does.swarmAction!;
  addHazard(findings, 'swarm', action);
  const inspectors = BODIES[action];
  if (inspectors !== undefined) inspectFields(inspectors, body, findings, '');
}

const driver = object(
  fields({
    Name: text((name, findings) => addHazard(findings, 'secret-driver', name)),
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

export function inspectSecret(body: JsonValue, findings: Findings): void {
  setFact(findings, 'secret.name', asString(asObject(body)['Name']));
  inspectFields(STORED, body, findings, '');
}

export function inspectConfig(body: JsonValue, findings: Findings): void {
  setFact(findings, 'config.name', asString(asObject(body)['Name']));
  inspectFields(STORED, body, findings, '');
}

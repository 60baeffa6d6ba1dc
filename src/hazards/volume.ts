import { type JsonValue, asObject, asString } from '../base/json.js';
import { addHazard, setFact, type Findings } from './findings.js';
import { fields, harmless, inspectFields, whenSet } from './field-inspectors.js';
import { volumeDriver, volumeOptions } from './mounts.js';

const VOLUME = fields({
  Name: harmless,
  Driver: volumeDriver,
  DriverOpts: volumeOptions,
  Labels: harmless,
  ClusterVolumeSpec: whenSet((findings) => addHazard(findings, 'cluster-volume', 'create')),
});

export function inspectVolumeCreate(body: JsonValue, findings: Findings): void {
  const { Name, Driver } = asObject(body);
  setFact(findings, 'volume.name', asString(Name));
  setFact(findings, 'volume.driver', asString(Driver) || 'local');
  inspectFields(VOLUME, body, findings, '');
}

export function inspectVolumeUpdate(_body: JsonValue, findings: Findings): void {
  addHazard(findings, 'cluster-volume', 'update');
}

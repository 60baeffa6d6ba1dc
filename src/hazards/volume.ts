import { type JsonValue, asObject, asString } from '../base/json.js';
import { addHazard, setFact, type Findings } from './findings.js';
import { fields, harmless, inspectFields, whenSet } from './field-inspectors.js';
import { volumeDriver, volumeOptions } from './mounts.js';

const VOLUME = fields({
  Name: harmless,
  Driver: volumeDriver,
  DriverOpts: volumeOptions,
  Labels: harmless,
  ClusterVolumeSpec: whenSet((found) => addHazard(found, 'cluster-volume', 'create')),
});

export function inspectVolumeCreate(body: JsonValue, found: Findings): void {
  const { Name, Driver } = asObject(body);
  setFact(found, 'volume.name', asString(Name));
  setFact(found, 'volume.driver', asString(Driver) || 'local');
  inspectFields(VOLUME, body, found, '');
}

export function inspectVolumeUpdate(_body: JsonValue, found: Findings): void {
  addHazard(found, 'cluster-volume', 'update');
}

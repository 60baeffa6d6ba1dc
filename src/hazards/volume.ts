import { type JsonValue, asObject, asString } from '../base/json.js';
import { raise, state, type Findings } from './findings.js';
import { fields, harmless, judgeObject, whenSet } from './judge.js';
import { volumeDriver, volumeOptions } from './mounts.js';

const VOLUME = fields({
  Name: harmless,
  Driver: volumeDriver,
  DriverOpts: volumeOptions,
  Labels: harmless,
  ClusterVolumeSpec: whenSet((found) => raise(found, 'cluster-volume', 'create')),
});

export function inspectVolumeCreate(body: JsonValue, found: Findings): void {
  const { Name, Driver } = asObject(body);
  state(found, 'volume.name', asString(Name));
  state(found, 'volume.driver', asString(Driver) || 'local');
  judgeObject(VOLUME, body, found, '');
}

export function inspectVolumeUpdate(_body: JsonValue, found: Findings): void {
  raise(found, 'cluster-volume', 'update');
}

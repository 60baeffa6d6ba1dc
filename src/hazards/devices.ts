import { addHazard } from './findings.js';
import { asArray, asObject, asString, asStrings } from '../base/json.js';
import { each, eachString, type FieldInspector } from './field-inspectors.js';
import { cleanPath } from './path.js';

/** HostConfig.Devices. The path may also be a directory, or a CDI name such as `vendor.com/class=name`. */
export const devices: FieldInspector = each((device, found) => {
  addHazard(found, 'device', cleanPath(asString(asObject(device)['PathOnHost'])));
});

/** HostConfig.DeviceRequests: an empty driver lets the daemon choose one by capabilities. */
export const deviceRequests: FieldInspector = each((request, found) => {
  const { Driver, Capabilities, DeviceIDs } = asObject(request);
  const capabilities = asArray(Capabilities).flatMap((set) => asStrings(set));
  const wanted = asString(Driver) || capabilities.join(',') || asStrings(DeviceIDs).join(',') || 'any';
  addHazard(found, 'device-request', wanted);
});

export const deviceRules: FieldInspector = eachString((rule, found) => addHazard(found, 'device-rule', rule));

/** BlkioWeightDevice, BlkioDeviceReadBps …: limits on a block device of the host. */
export const blockDevices: FieldInspector = each((limit, found) => {
  addHazard(found, 'block-device', cleanPath(asString(asObject(limit)['Path'])));
});

import { raise } from './findings.js';
import { asArray, asObject, asString, asStrings } from '../base/json.js';
import { each, eachString, type Judge } from './judge.js';
import { cleanPath } from './path.js';

/** HostConfig.Devices. The path may also be a directory, or a CDI name such as `vendor.com/class=name`. */
export const devices: Judge = each((device, found) => {
  raise(found, 'device', cleanPath(asString(asObject(device)['PathOnHost'])));
});

/** HostConfig.DeviceRequests: an empty driver lets the daemon choose one by capabilities. */
export const deviceRequests: Judge = each((request, found) => {
  const { Driver, Capabilities, DeviceIDs } = asObject(request);
  const capabilities = asArray(Capabilities).flatMap((set) => asStrings(set));
  const wanted = asString(Driver) || capabilities.join(',') || asStrings(DeviceIDs).join(',') || 'any';
  raise(found, 'device-request', wanted);
});

export const deviceRules: Judge = eachString((rule, found) => raise(found, 'device-rule', rule));

/** BlkioWeightDevice, BlkioDeviceReadBps …: limits on a block device of the host. */
export const blockDevices: Judge = each((limit, found) => {
  raise(found, 'block-device', cleanPath(asString(asObject(limit)['Path'])));
});

import { asArray, asNumber, asObject, asString, asStrings } from '../base/json.js';
import { addHazard } from './inspection.js';
import { each, eachString, harmless, text, whenSet, type FieldInspector } from './field-inspectors.js';
import { cleanPath } from './host-access.js';

/** HostConfig.Devices. The path may also be a directory, or a CDI name such as `vendor.com/class=name`. */
const devices: FieldInspector = each((device, findings) => {
  addHazard(findings, 'device', cleanPath(asString(asObject(device)['PathOnHost'])));
});

/** HostConfig.DeviceRequests: an empty driver lets the daemon choose one by capabilities. */
const deviceRequests: FieldInspector = each((request, findings) => {
  const { Driver, Capabilities, DeviceIDs } = asObject(request);
  const capabilities = asArray(Capabilities).flatMap((set) => asStrings(set));
  const wanted = asString(Driver) || capabilities.join(',') || asStrings(DeviceIDs).join(',') || 'any';
  addHazard(findings, 'device-request', wanted);
});

const deviceRules: FieldInspector = eachString((rule, findings) => addHazard(findings, 'device-rule', rule));

/** BlkioWeightDevice, BlkioDeviceReadBps …: limits on a block device of the host. */
const blockDevices: FieldInspector = each((limit, findings) => {
  addHazard(findings, 'block-device', cleanPath(asString(asObject(limit)['Path'])));
});

export const ulimits: FieldInspector = each((limit, findings) =>
  addHazard(findings, 'ulimit', asString(asObject(limit)['Name'])),
);

/** A negative score protects the container from the kernel's OOM killer; a positive one only harms itself. */
export const oomScore: FieldInspector = (value, findings) => {
  if (asNumber(value) < 0) addHazard(findings, 'oom-score', String(asNumber(value)));
};

const realtime = whenSet((findings) => addHazard(findings, 'realtime-cpu'));

/** container.Resources, of ContainerCreate and ContainerUpdate. Plain amounts are the business of facts. */
export const RESOURCES: Readonly<Record<string, FieldInspector>> = {
  CpuShares: harmless,
  Memory: harmless,
  NanoCpus: harmless,
  CgroupParent: text((parent, findings) => addHazard(findings, 'cgroup-parent', cleanPath(parent))),
  BlkioWeight: harmless,
  BlkioWeightDevice: blockDevices,
  BlkioDeviceReadBps: blockDevices,
  BlkioDeviceWriteBps: blockDevices,
  BlkioDeviceReadIOps: blockDevices,
  BlkioDeviceWriteIOps: blockDevices,
  CpuPeriod: harmless,
  CpuQuota: harmless,
  CpuRealtimePeriod: realtime,
  CpuRealtimeRuntime: realtime,
  Cpuset: harmless,
  CpusetCpus: harmless,
  CpusetMems: harmless,
  Devices: devices,
  DeviceCgroupRules: deviceRules,
  DeviceRequests: deviceRequests,
  DiskQuota: harmless,
  KernelMemory: harmless,
  KernelMemoryTCP: harmless,
  MemoryReservation: harmless,
  MemorySwap: harmless,
  MemorySwappiness: harmless,
  OomKillDisable: whenSet((findings) => addHazard(findings, 'oom-kill-disable')),
  PidsLimit: harmless,
  Ulimits: ulimits,
  CpuCount: harmless,
  CpuPercent: harmless,
  IOMaximumIOps: harmless,
  IOMaximumBandwidth: harmless,
};

/** `no` and `on-failure` end with the container's failure; everything else brings it back for ever. */
export const restartPolicy: FieldInspector = (value, findings) => {
  const name = asString(asObject(value)['Name']);
  if (name !== '' && name !== 'no' && name !== 'on-failure') addHazard(findings, 'restart-policy', name);
};

import { asArray, asNumber, asObject, asString, asStrings } from '../base/json.js';
import { addHazard } from './inspection.js';
import {
  bounded,
  checked,
  duration,
  each,
  eachString,
  ownAmount,
  text,
  whenSet,
  type FieldInspector,
} from './field-inspectors.js';
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
  CpuShares: bounded('cpu-shares'),
  Memory: ownAmount,
  NanoCpus: ownAmount,
  CgroupParent: text((parent, findings) => addHazard(findings, 'cgroup-parent', cleanPath(parent))),
  BlkioWeight: checked,
  BlkioWeightDevice: blockDevices,
  BlkioDeviceReadBps: blockDevices,
  BlkioDeviceWriteBps: blockDevices,
  BlkioDeviceReadIOps: blockDevices,
  BlkioDeviceWriteIOps: blockDevices,
  CpuPeriod: ownAmount,
  CpuQuota: ownAmount,
  CpuRealtimePeriod: realtime,
  CpuRealtimeRuntime: realtime,
  // Engines read lists of processors up to the largest that Linux knows, 8192 (pkg/sysinfo).
  Cpuset: checked,
  CpusetCpus: checked,
  CpusetMems: checked,
  Devices: devices,
  DeviceCgroupRules: deviceRules,
  DeviceRequests: deviceRequests,
  DiskQuota: ownAmount,
  KernelMemory: ownAmount,
  KernelMemoryTCP: ownAmount,
  MemoryReservation: ownAmount,
  MemorySwap: ownAmount,
  MemorySwappiness: checked,
  OomKillDisable: whenSet((findings) => addHazard(findings, 'oom-kill-disable')),
  PidsLimit: ownAmount,
  Ulimits: ulimits,
  CpuCount: ownAmount,
  CpuPercent: ownAmount,
  IOMaximumIOps: ownAmount,
  IOMaximumBandwidth: ownAmount,
};

/**
 * `no` and `on-failure` end with the container's failure; everything else brings it back for ever. Each failure doubles the
 * time to the next start, up to a minute (restartmanager.go): MaximumRetryCount costs nothing, whatever it is.
 */
export const restartPolicy: FieldInspector = (value, findings) => {
  const name = asString(asObject(value)['Name']);
  if (name !== '' && name !== 'no' && name !== 'on-failure') addHazard(findings, 'restart-policy', name);
};

/** container.HealthConfig: a probe that is killed at once or fails for ever costs no more than one that succeeds. */
export const healthCheck: FieldInspector = (value, findings) => {
  const { Interval, StartInterval } = asObject(value);
  for (const interval of [Interval, StartInterval])
    if (interval !== undefined) HEALTH_INTERVAL(interval, findings, '');
};
const HEALTH_INTERVAL = duration('health-interval');

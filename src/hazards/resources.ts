import { asArray, asNumber, asObject, asString, asStrings, type JsonObject } from '../base/json.js';
import { raise } from './findings.js';
import { each, eachString, harmless, text, whenSet, type Judge } from './judge.js';
import { cleanPath } from './path.js';

/** HostConfig.Devices. The path may also be a directory, or a CDI name such as `vendor.com/class=name`. */
const devices: Judge = each((device, found) => {
  raise(found, 'device', cleanPath(asString(asObject(device)['PathOnHost'])));
});

/** HostConfig.DeviceRequests: an empty driver lets the daemon choose one by capabilities. */
const deviceRequests: Judge = each((request, found) => {
  const { Driver, Capabilities, DeviceIDs } = asObject(request);
  const capabilities = asArray(Capabilities).flatMap((set) => asStrings(set));
  const wanted = asString(Driver) || capabilities.join(',') || asStrings(DeviceIDs).join(',') || 'any';
  raise(found, 'device-request', wanted);
});

const deviceRules: Judge = eachString((rule, found) => raise(found, 'device-rule', rule));

/** BlkioWeightDevice, BlkioDeviceReadBps …: limits on a block device of the host. */
const blockDevices: Judge = each((limit, found) => {
  raise(found, 'block-device', cleanPath(asString(asObject(limit)['Path'])));
});

export const ulimits: Judge = each((limit, found) =>
  raise(found, 'ulimit', asString(asObject(limit)['Name'])),
);

/** A negative score protects the container from the kernel's OOM killer; a positive one only harms itself. */
export const oomScore: Judge = (value, found) => {
  if (asNumber(value) < 0) raise(found, 'oom-score', String(asNumber(value)));
};

const realtime = whenSet((found) => raise(found, 'realtime-cpu'));

/** container.Resources, of ContainerCreate and ContainerUpdate. Plain amounts are the business of facts. */
export const RESOURCES: Readonly<Record<string, Judge>> = {
  CpuShares: harmless,
  Memory: harmless,
  NanoCpus: harmless,
  CgroupParent: text((parent, found) => raise(found, 'cgroup-parent', cleanPath(parent))),
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
  OomKillDisable: whenSet((found) => raise(found, 'oom-kill-disable')),
  PidsLimit: harmless,
  Ulimits: ulimits,
  CpuCount: harmless,
  CpuPercent: harmless,
  IOMaximumIOps: harmless,
  IOMaximumBandwidth: harmless,
};

/** `no` and `on-failure` end with the container's failure; everything else brings it back for ever. */
export const restartPolicy: Judge = (value, found) => {
  const name = asString(asObject(value)['Name']);
  if (name !== '' && name !== 'no' && name !== 'on-failure') raise(found, 'restart-policy', name);
};

/** Facts about amounts, from a HostConfig or an update's body. */
export function resourceFacts(from: JsonObject): {
  memory: number;
  cpus: number;
  pids: number;
  restart: string;
} {
  return {
    memory: asNumber(from['Memory']),
    cpus: asNumber(from['NanoCpus']) / 1e9,
    pids: asNumber(from['PidsLimit']),
    restart: asString(asObject(from['RestartPolicy'])['Name']),
  };
}

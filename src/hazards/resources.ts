import { type JsonObject, asNumber, asObject, asString } from '../base/json.js';
import { blockDevices, deviceRequests, deviceRules, devices } from './devices.js';
import { addHazard } from './findings.js';
import { each, harmless, text, whenSet, type FieldInspector } from './field-inspectors.js';
import { cleanPath } from './path.js';

export const ulimits: FieldInspector = each((limit, found) =>
  addHazard(found, 'ulimit', asString(asObject(limit)['Name'])),
);

/** A negative score protects the container from the kernel's OOM killer; a positive one only harms itself. */
export const oomScore: FieldInspector = (value, found) => {
  if (asNumber(value) < 0) addHazard(found, 'oom-score', String(asNumber(value)));
};

const realtime = whenSet((found) => addHazard(found, 'realtime-cpu'));

/** container.Resources, of ContainerCreate and ContainerUpdate. Plain amounts are the business of facts. */
export const RESOURCES: Readonly<Record<string, FieldInspector>> = {
  CpuShares: harmless,
  Memory: harmless,
  NanoCpus: harmless,
  CgroupParent: text((parent, found) => addHazard(found, 'cgroup-parent', cleanPath(parent))),
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
  OomKillDisable: whenSet((found) => addHazard(found, 'oom-kill-disable')),
  PidsLimit: harmless,
  Ulimits: ulimits,
  CpuCount: harmless,
  CpuPercent: harmless,
  IOMaximumIOps: harmless,
  IOMaximumBandwidth: harmless,
};

/** `no` and `on-failure` end with the container's failure; everything else brings it back for ever. */
export const restartPolicy: FieldInspector = (value, found) => {
  const name = asString(asObject(value)['Name']);
  if (name !== '' && name !== 'no' && name !== 'on-failure') addHazard(found, 'restart-policy', name);
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

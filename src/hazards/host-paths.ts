import type { Call } from '../docker/call.js';
import { asArray, asObject, type JsonObject } from '../base/json.js';
import { inspect } from './inspect.js';

const NONE: readonly string[] = [];

/** The host paths that a call makes visible in a container, canonical, each once. */
export function hostPathsOf(call: Call): readonly string[] {
  if (call.body.kind !== 'json' || !mayNameHostPaths(call.body.value)) return NONE;
  return inspect(call)
    .hazards.filter(({ kind, argument }) => kind === 'bind' && argument.startsWith('/'))
    .map(({ argument }) => argument);
}

/** Most calls mount nothing; then there is no need to look closer. */
function mayNameHostPaths(body: JsonObject): boolean {
  // Before API 1.18 the fields of HostConfig stood beside it.
  return [body, asObject(body['HostConfig'])].some(hasMounts) || hasServiceMounts(body) || hasOptions(body);
}

const hasMounts = (host: JsonObject): boolean =>
  asArray(host['Binds']).length > 0 || asArray(host['Mounts']).length > 0 || 'InitPath' in host;

function hasServiceMounts(body: JsonObject): boolean {
  const { ContainerSpec } = asObject(body['TaskTemplate']);
  return asArray(asObject(ContainerSpec)['Mounts']).length > 0;
}

/** Options of a volume driver: with `o=bind` the device is a host path. */
const hasOptions = (body: JsonObject): boolean => Object.keys(asObject(body['DriverOpts'])).length > 0;

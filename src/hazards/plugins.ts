import type { Call } from '../docker/call.js';
import { type JsonValue, asArray, asObject, asString, asStrings } from '../base/json.js';
import { addHazard, setFact, type Findings } from './inspection.js';
import { queryText } from './call-values.js';

/** PluginPrivileges: what the plugin is granted (host network, mounts, devices, capabilities). */
export function inspectPrivileges(list: readonly JsonValue[], findings: Findings): void {
  for (const item of list) {
    // Lower case in the PluginSpec of a service, upper case elsewhere.
    const { Name, Value, name, value } = asObject(item);
    const values = [...asStrings(Value), ...asStrings(value)];
    for (const given of values.length === 0 ? [''] : values) {
      addHazard(findings, 'plugin-privilege', `${asString(Name) || asString(name)}=${given}`);
    }
  }
}

/** Every operation that changes plugins. The argument is where the plugin comes from, else its name. */
export function inspectPlugin(body: JsonValue, findings: Findings, call: Call): void {
  const remote = queryText(call, 'remote');
  const name = call.path['name'] ?? queryText(call, 'name');
  const { pulls, creates } = call.operation.does;
  const fetches = pulls === 'plugin';
  if (fetches) setFact(findings, 'plugin.remote', remote);
  addHazard(findings, 'plugin', fetches ? remote : name);
  // Made from an archive in the body.
  if (creates === 'plugin' && !fetches) addHazard(findings, 'opaque', 'plugin');
  if (fetches) inspectPrivileges(asArray(body), findings);
}

/** A GET that makes the daemon fetch a plugin's configuration from a registry. */
export function inspectPluginPrivileges(_body: JsonValue, findings: Findings, call: Call): void {
  const remote = queryText(call, 'remote');
  setFact(findings, 'plugin.remote', remote);
  addHazard(findings, 'daemon-connects', remote);
}

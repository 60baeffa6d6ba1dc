import { asArray, asObject, asString, asStrings } from '../base/json.js';
import { each, eachString, type FieldInspector } from './field-inspectors.js';
import { addHazard } from './inspection.js';

/**
 * Go templates that the daemon itself runs: the `tag` of a log driver (daemon/logger/loggerutils/log_tag.go) and texts
 * of a service (swarmkit template/expand.go). They loop and pad: `{{pad "x" 30000000000000 0}}` ends dockerd for want of
 * memory. Only the short fields below are no hazard; what else a template has may be long, or reveal what the host keeps.
 */
const FIELD = /\{\{(?:- )?\s*\.([A-Za-z.]{1,30})\s*(?: -)?\}\}/g;

function isPlain(text: string, known: ReadonlySet<string>): boolean {
  if (!text.includes('{{')) return true;
  const rest = text.replace(FIELD, (action, field: string) => (known.has(field) ? '\0' : action));
  return !rest.includes('{{');
}

/** What Docker's documentation has for tags. */
const TAG_FIELDS: ReadonlySet<string> = new Set([
  ...['ID', 'FullID', 'Name', 'ImageID', 'ImageFullID', 'ImageName', 'DaemonName'],
]);

/** A field may have the length of a long name, and a tag stands in every line of the log. */
const MAX_TAG = 1_024;

export const isPlainTag = (tag: string): boolean => tag.length <= MAX_TAG && isPlain(tag, TAG_FIELDS);

/** Those of docker service create, but for labels: they may be long. */
const SERVICE_FIELDS: ReadonlySet<string> = new Set([
  ...['Service.ID', 'Service.Name', 'Node.ID', 'Node.Hostname', 'Node.Platform.Architecture'],
  ...['Node.Platform.OS', 'Task.ID', 'Task.Name', 'Task.Slot'],
]);

const isPlainText = (text: string): boolean => isPlain(text, SERVICE_FIELDS);

/** ContainerSpec.Env: what stands after the `=`. */
export const templatesOfVariables: FieldInspector = eachString((entry, findings) => {
  if (isPlainText(entry)) return;
  const [name = '', ...value] = entry.split('=');
  if (!isPlainText(value.join('='))) addHazard(findings, 'template', `env=${name}`);
});

export const templateOfHostname: FieldInspector = (value, findings) => {
  if (!isPlainText(asString(value))) addHazard(findings, 'template', 'hostname');
};

/** ContainerSpec.Mounts. INVARIANT: `/srv/{{"../etc"}}` does not pass as a path below /srv. */
export const templatesOfMounts: FieldInspector = each((mount, findings) => {
  const { Source, Target, VolumeOptions } = asObject(mount);
  const { Labels, DriverConfig } = asObject(VolumeOptions);
  const maps = [asObject(Labels), asObject(asObject(DriverConfig)['Options'])];
  const texts = [Source, Target, ...maps.flatMap((map) => Object.values(map))];
  if (!asStrings(asArray(texts)).every(isPlainText))
    addHazard(findings, 'template', `mount=${asString(Target)}`);
});

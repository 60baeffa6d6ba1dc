import { byOperation } from '../docker/catalogue.js';
import type { Call } from '../docker/call.js';
import { type JsonObject, type JsonValue, asObject, asString, asStrings } from '../base/json.js';
import { addHazard, addToFact, newFindings, setFact, type Findings } from './inspection.js';
import { any, createsVolume, runsContainer, runsService, startsContainer } from './operations.js';
import {
  each,
  eachEntry,
  eachString,
  checked,
  fields,
  flag,
  inspectFields,
  keptTexts,
  object,
  otherThan,
  ownAmount,
  ownText,
  text,
  whenSet,
  withOthers,
  type FieldInspector,
  type Fields,
} from './field-inspectors.js';
import { cleanPath, mayHoldEngineSocket } from './host-access.js';
import { shownOption } from './logging.js';

/** A host path becomes visible in a container, in any syntax. */
function mountHostPath(source: string, findings: Findings): void {
  const path = cleanPath(source);
  addHazard(findings, 'bind', path);
  if (mayHoldEngineSocket(path)) addHazard(findings, 'docker-socket');
  if (findings.isHostUnseen === true) addHazard(findings, 'unseen', 'bind');
  // A link on the host: the container gets what it leads to.
  const resolved = findings.hostPaths?.[path];
  if (resolved === undefined) return;
  addHazard(findings, 'bind', resolved);
  if (mayHoldEngineSocket(resolved)) addHazard(findings, 'docker-socket');
}

/** Names the daemon accepts for volumes (daemon/names). Anything else as a source is not clearly a volume. */
const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** The words of a mount's mode, by the group of which it takes one at most. */
const MODES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    access: ['rw', 'ro'],
    label: ['z', 'Z'],
    propagation: ['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared'],
    copy: ['nocopy'],
    consistency: ['consistent', 'cached', 'delegated', 'default'],
  }).flatMap(([group, words]) => words.map((word) => [word, group] as const)),
);

/** linuxValidMountMode of daemon/volume/mounts/linux_parser.go: known words, at most one of each group. */
function isMountMode(mode: string): boolean {
  if (mode === '') return true;
  const used = new Set<string>();
  for (const word of mode.split(',')) {
    const group = MODES.get(word);
    if (group === undefined || used.has(group)) return false;
    used.add(group);
  }
  return true;
}

function propagate(mode: string, findings: Findings): void {
  if (mode !== '' && mode !== 'private' && mode !== 'rprivate') addHazard(findings, 'bind-propagation', mode);
}

/**
 * One entry of Binds, read as ParseMountRaw of moby's linux parser does: `[source:]destination[:mode]`; a source
 * with a leading slash is a path of the host, any other one a volume. What that parser refuses is reported as a
 * bind of the literal text, should another parser be kinder.
 */
export function inspectBind(spec: string, findings: Findings): void {
  const parts = spec.split(':', 5);
  const [source = '', target = '', mode = ''] = parts;
  const malformed =
    parts.length > 3 || source === '' || !isMountMode(mode) || (parts.length === 2 && isMountMode(target));
  if (parts.length === 1 && spec.startsWith('/')) {
    addToFact(findings, 'mounts', `:${cleanPath(spec)}:rw`);
    return;
  }
  for (const word of mode.split(',')) if (MODES.get(word) === 'propagation') propagate(word, findings);
  const readOnly = mode.split(',').includes('ro');
  if (source.startsWith('/')) mountHostPath(source, findings);
  if (malformed || parts.length === 1 || (!source.startsWith('/') && !VOLUME_NAME.test(source)))
    addHazard(findings, 'bind', spec);
  const shown = source.startsWith('/') ? cleanPath(source) : source;
  addToFact(findings, 'mounts', `${shown}:${cleanPath(target)}:${readOnly ? 'ro' : 'rw'}`);
}

export const volumeDriver: FieldInspector = otherThan(['local'], (driver, findings) =>
  addHazard(findings, 'volume-driver', driver),
);

/**
 * Options of a volume driver. Those of `local` are arguments of mount(8): with `o=bind` the device is a host path,
 * else it is a disk or a remote file system (daemon/volume/local/local_unix.go).
 */
const volumeOptions: FieldInspector = (value, findings) => {
  const options = asObject(value);
  for (const key of Object.keys(options))
    addHazard(findings, 'volume-option', `${key}=${shownOption(key, asString(options[key]))}`);
  const device = asString(options['device']);
  if (device === '') return;
  const flags = asString(options['o']).split(',');
  const type = asString(options['type']);
  const bound =
    flags.includes('bind') || flags.includes('rbind') || type === '' || type === 'none' || type === 'bind';
  if (bound) mountHostPath(device, findings);
  else if (device.startsWith('/dev/')) addHazard(findings, 'device', cleanPath(device));
  else if (device.startsWith('/')) mountHostPath(device, findings);
};

const TMPFS_HARMLESS = new Set([
  ...[
    '',
    'rw',
    'ro',
    'noexec',
    'nosuid',
    'nodev',
    'sync',
    'async',
    'dirsync',
    'atime',
    'noatime',
    'diratime',
  ],
  ...['nodiratime', 'relatime', 'norelatime', 'strictatime', 'nostrictatime', 'mand', 'nomand', 'defaults'],
  ...['private', 'rprivate', 'size', 'mode', 'uid', 'gid', 'nr_inodes', 'nr_blocks', 'mpol'],
]);

// Size and inodes are charged to the container that fills them, so no number is too large.
// The defaults are noexec, nosuid and nodev; `exec`, `suid` and `dev` take them away.
function tmpfsOption(option: string, findings: Findings): void {
  if (!TMPFS_HARMLESS.has(option.split('=', 1)[0] ?? '')) addHazard(findings, 'tmpfs-option', option);
}

/** HostConfig.Tmpfs: destination to a comma-separated list of mount options. */
export const tmpfs: FieldInspector = eachEntry((target, options, findings) => {
  addToFact(findings, 'mounts', `:${cleanPath(target)}:rw`);
  for (const option of asString(options).split(',')) tmpfsOption(option, findings);
}, 'volumes');

const BIND_OPTIONS = fields({
  Propagation: text(propagate),
  NonRecursive: flag,
  CreateMountpoint: flag,
  ReadOnlyNonRecursive: flag,
  ReadOnlyForceRecursive: flag,
});
const VOLUME_OPTIONS = fields({
  NoCopy: flag,
  Labels: keptTexts,
  Subpath: ownText,
  DriverConfig: object(fields({ Name: volumeDriver, Options: volumeOptions })),
});
const TMPFS_OPTIONS = fields({
  SizeBytes: ownAmount,
  Mode: checked,
  Options: each((option, findings) => tmpfsOption(asStrings(option).join('='), findings)),
});
const MOUNT = fields({
  Type: withOthers,
  Source: withOthers,
  Target: withOthers,
  ReadOnly: flag,
  Consistency: checked,
  BindOptions: object(BIND_OPTIONS),
  VolumeOptions: object(VOLUME_OPTIONS),
  ImageOptions: object(fields({ Subpath: ownText })),
  TmpfsOptions: object(TMPFS_OPTIONS),
  ClusterOptions: flag,
});

/** One mount.Mount, of HostConfig.Mounts or of a service. All its options are judged, also those of other types. */
function inspectMount(value: JsonValue, findings: Findings, at: string): void {
  const mount = asObject(value);
  const type = asString(mount['Type']);
  const source = asString(mount['Source']);
  if (type === 'bind') mountHostPath(source, findings);
  else if (type === 'volume') {
    if (source !== '' && !VOLUME_NAME.test(source)) addHazard(findings, 'bind', source);
  } else if (type !== 'tmpfs') addHazard(findings, 'mount-type', type === '' ? 'none' : type);
  const shown = type === 'bind' ? cleanPath(source) : source;
  addToFact(
    findings,
    'mounts',
    `${shown}:${cleanPath(asString(mount['Target']))}:${mount['ReadOnly'] === true ? 'ro' : 'rw'}`,
  );
  inspectFields(MOUNT, value, findings, at);
}

export const mounts: FieldInspector = each(inspectMount, 'volumes');

/** The fields of a HostConfig by which paths of the host become visible in a container. */
export const HOST_MOUNTS = {
  Binds: eachString(inspectBind, 'volumes'),
  Mounts: mounts,
  // API 1.25: a program of the host, mounted into the container as its first process.
  InitPath: text(mountHostPath),
} satisfies Readonly<Record<string, FieldInspector>>;

export const volumesFrom: FieldInspector = eachString((spec, findings) =>
  addHazard(findings, 'volumes-from', spec),
);

const VOLUME = fields({
  Name: ownText,
  Driver: volumeDriver,
  DriverOpts: volumeOptions,
  Labels: keptTexts,
  ClusterVolumeSpec: whenSet((findings) => addHazard(findings, 'cluster-volume', 'create')),
});

export function inspectVolumeCreate(body: JsonValue, findings: Findings): void {
  const { Name, Driver } = asObject(body);
  setFact(findings, 'volume.name', asString(Name));
  setFact(findings, 'volume.driver', asString(Driver) || 'local');
  inspectFields(VOLUME, body, findings, '');
}

export function inspectVolumeUpdate(_body: JsonValue, findings: Findings): void {
  addHazard(findings, 'cluster-volume', 'update');
}

/** Where a body names paths of the host: below these keys, in the fields of the tables above. */
const PLACES = byOperation<{ readonly below: readonly string[]; readonly fields: Fields }>([
  [any(runsContainer, startsContainer), { below: [], fields: fields(HOST_MOUNTS) }],
  [runsContainer, { below: ['HostConfig'], fields: fields(HOST_MOUNTS) }],
  [runsService, { below: ['TaskTemplate', 'ContainerSpec'], fields: fields({ Mounts: mounts }) }],
  [createsVolume, { below: [], fields: fields({ DriverOpts: volumeOptions }) }],
]);

const NO_PATHS: readonly string[] = [];

/** The host paths that a call makes visible in a container, canonical, each once. */
export function hostPathsOf({ body, operation, work }: Call): readonly string[] {
  const places = PLACES.get(operation.id);
  if (places === undefined || body.kind !== 'json') return NO_PATHS;
  let findings: Findings | undefined;
  for (const { below, fields } of places) {
    let object: JsonObject = body.value;
    for (const key of below) object = asObject(object[key] ?? null);
    for (const [key, inspect] of fields) {
      const value = object[key] ?? null;
      if (value !== null) inspect(value, (findings ??= newFindings(work)), '');
    }
  }
  if (findings === undefined) return NO_PATHS;
  const paths: string[] = [];
  for (const { kind, argument } of findings.hazards)
    if (kind === 'bind' && argument.startsWith('/')) paths.push(argument);
  return paths;
}

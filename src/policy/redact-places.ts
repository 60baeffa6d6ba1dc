import { everywhere, UNTOUCHED, type Edit, type Place } from '../docker/answers/place.js';
import type { Glob } from '../base/glob.js';

/*
 * What is what in the answers of the Engine API (moby, api/types and api/swagger.yaml, API 1.24 to 1.55). Keys count at
 * any depth, so that a field that moves, or an older engine that has it elsewhere, makes no difference; only
 * where one key means several things its place depends on the operation. Strings become other strings, never another type,
 * so that clients go on reading what they read before.
 */

/** What is to be removed; a function returns the part that is kept. */
export interface Wanted {
  readonly env?: Glob;
  readonly paths?: Glob;
  readonly labels?: Glob;
  readonly secrets?: Glob;
  readonly commands?: Glob;
}

type TextEdit = (text: string) => string | undefined;

export const REDACTED = '<redacted>';
/** Where Go reads `[]byte`, it reads base64. */
const REDACTED_BASE64 = 'PHJlZGFjdGVkPg==';

/** `NAME=value` keeps its name; what has none is removed whole. */
const pair =
  (kept: Glob): Edit =>
  (text) => {
    const equals = text.indexOf('=');
    if (equals < 1) return REDACTED;
    const name = text.slice(0, equals);
    return kept(name) ? undefined : `${name}=${REDACTED}`;
  };

/** Labels in which Compose and Docker Desktop note paths of the host. */
const PATH_LABELS =
  /^(?:com\.docker\.compose\.project\.(?:working_dir|config_files|environment_file)|desktop\.docker\.io\/binds\/.*)$/;

/** A host path: absolute, of Windows as well, or with a scheme as in `unix:///run/x.sock`. */
const HOST_PATH = /^(?:\/|\\|[A-Za-z]:[\\/]|[a-z][a-z0-9+.-]*:\/\/\/)/;

/** A path, or several as storage drivers and labels have them (`/a:/b`, `/a,/b`): kept when each of them is. */
const pathEdit =
  (kept: Glob): TextEdit =>
  (text) => {
    if (!HOST_PATH.test(text)) return undefined;
    const paths = text.startsWith('/') ? text.split(/[:,](?=\/)/) : [text];
    return paths.every((path) => kept(path) && isPlain(path)) ? undefined : REDACTED;
  };

/** `/srv/ci/../../etc` is not below /srv/ci. */
const isPlain = (path: string): boolean => !/(?:^|[\\/])\.{1,2}(?:[\\/]|$)/.test(path);

/** `/host/path:/container/path:ro`; a volume has a name in the first place. What has no colon is no host path. */
const bindEdit = (kept: Glob): Edit => {
  const edit = pathEdit(kept);
  return (text) => {
    const colon = text.indexOf(':', /^[A-Za-z]:[\\/]/.test(text) ? 2 : 0);
    if (colon < 0) return undefined;
    const source = edit(text.slice(0, colon));
    return source === undefined ? undefined : source + text.slice(colon);
  };
};

/** `name=seccomp,profile=/etc/docker/seccomp.json` (SystemInfo). */
const profileEdit = (kept: Glob): Edit => {
  const edit = pathEdit(kept);
  return (text) => {
    if (!text.includes('=/')) return undefined;
    return text
      .split(',')
      .map((part) => {
        const value = part.slice(part.indexOf('=') + 1);
        return edit(value) === undefined ? part : `${part.slice(0, -value.length)}${REDACTED}`;
      })
      .join(',');
  };
};

/** Security options may carry credential specs of Active Directory. */
const credentialEdit: Edit = (text) =>
  /^credentialspec=/i.test(text) ? `credentialspec=${REDACTED}` : undefined;

/** Names, ids and references of objects, as the caller has written them. */
const NAME = '[\\w.:@/+-]{1,300}';
/**
 * Texts of the engine that quote nothing but what the caller named itself, and its own words. Any other error may
 * quote a command, a mount, an option of a driver.
 */
const HARMLESS = [
  `(?:Error: )?[Nn]o such (?:container|image|exec instance|network|volume|service|task|node|secret|config|plugin): "?${NAME}"?`,
  `(?:network|volume|service|task|node|secret|config|plugin) "?${NAME}"? not found`,
  `get ${NAME}: no such volume`,
  `[Cc]ontainer [0-9a-f]{12,64} is not running`,
  `[Cc]onflict\\. The container name "/?${NAME}" is already in use by container "?[0-9a-f]{64}"?\\. You have to remove \\(or rename\\) that container to be able to reuse that name\\.`,
  'page not found',
  'This node is not a swarm manager\\. (?:Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again|Worker nodes can\'t be used to view or modify cluster state\\. Please run this command on a manager node or promote the current node to a manager)\\.',
  'client version [0-9.]{1,9} is too (?:new|old)\\. (?:Maximum|Minimum) supported API version is [0-9.]{1,9}(?:, please upgrade your client to a newer version)?',
  '(?:update|rollback) (?:in progress|completed|paused)',
  'started|preparing|prepared|starting|assigned|accepted|created|finished|shutdown|rejected|complete',
  'pending task scheduling|scheduler assigned task to node|scheduler confirmed task can run on preassigned node',
  'task: non-zero exit \\([0-9]{1,3}\\)',
].map((pattern) => new RegExp(`^(?:${pattern})\\n?$`));

/** Free text of the engine. */
export const freeText: TextEdit = (text) =>
  HARMLESS.some((pattern) => pattern.test(text))
    ? undefined
    : `${REDACTED} (a rule redacts what this text may quote)`;

export const SECRET_PLACE = everywhere(REDACTED);
const FREE_TEXT = everywhere(freeText);

/** The answer to a call that failed: all its texts. */
export const ERROR_ANSWER: Place = FREE_TEXT;

const SECRET: Place = SECRET_PLACE;
const SECRET_BASE64 = everywhere(REDACTED_BASE64);

/** Fields of plugins that describe themselves: `{"Name": …, "Settable": …, "Value": …}`. */
const NAMED: ReadonlyMap<string, Place> = new Map(
  ['name', 'description', 'settable'].map((key) => [key, UNTOUCHED]),
);

const COMMAND: Place = selfSimilar({ ...everywhere(REDACTED), keys: NAMED });

/** What is below a place is there again. */
function selfSimilar(place: Place, other?: Place['other']): Place {
  place.items = place;
  place.other = other ?? place;
  return place;
}

/** Strings and lists of labels, and maps by their keys. `known`: members that are no labels, by name. */
function labelPlace({ labels, paths }: Wanted, known: Readonly<Record<string, Place>> = {}): Place {
  const path = paths === undefined ? UNTOUCHED : everywhere(pathEdit(paths));
  const shown = (key: string): Place => (PATH_LABELS.test(key) ? path : UNTOUCHED);
  if (labels === undefined) return selfSimilar({ ...everywhere(undefined) }, shown);
  return selfSimilar({ ...everywhere(pair(labels)) }, (key) => {
    if (key !== '' && labels(key)) return shown(key);
    return Object.hasOwn(known, key) ? known[key]! : SECRET;
  });
}

/** Strings and lists of `NAME=value`, maps, and the lists of objects that plugins have. */
function envPlace(kept: Glob): Place {
  return selfSimilar({ ...everywhere(pair(kept)), keys: NAMED }, (key) =>
    key !== '' && kept(key) ? UNTOUCHED : SECRET,
  );
}

/** The rules that hold at any depth of any answer, and the places where they differ by operation. */
export interface Places {
  readonly common: Place;
  /** As common, where these keys are; below them common again. */
  readonly at: (keys: Readonly<Record<string, Place>>) => Place;
  /** One volume. */
  readonly volume: Place;
  readonly command: Place;
  readonly path: Place;
  /** One event, to be read by one transform: what an attribute means depends on what came before. */
  readonly event: () => Place;
}

/** The rules while they are put together. */
class Rules {
  readonly #keys = new Map<string, Place>();
  readonly common: Place = { ...everywhere(undefined), keys: this.#keys };
  readonly #copies: Map<string, Place>[] = [];

  constructor() {
    this.common.items = this.common.other = this.common;
  }

  add(place: Place | undefined, ...names: string[]): void {
    if (place !== undefined) for (const name of names) this.#keys.set(name, place);
  }

  /** INVARIANT: below a key that objects may have as well, or that is a name given by a user, the common rules go on. */
  readonly at = (more: Readonly<Record<string, Place>>, edit?: Edit): Place => {
    const own = new Map([...this.#keys, ...Object.entries(more)]);
    this.#copies.push(own);
    return { edit, keys: own, items: this.common, other: this.common };
  };

  text(edit: Edit): Place {
    const place: Place = { edit, keys: this.#keys, items: this.common, other: this.common };
    place.items = place;
    return place;
  }

  /** Places that were made before a key was added have it too. */
  end(): void {
    for (const own of this.#copies)
      for (const [key, place] of this.#keys) if (!own.has(key)) own.set(key, place);
  }
}

export function placesFor(wanted: Wanted): Places {
  const { env, paths, labels, secrets, commands } = wanted;
  const rules = new Rules();
  rules.add(FREE_TEXT, 'error', 'err', 'message', 'warnings', 'warning');
  if (env !== undefined) rules.add(envPlace(env), 'env');
  if (labels !== undefined || paths !== undefined) rules.add(labelPlace(wanted), 'labels', 'annotations');
  if (commands !== undefined) {
    rules.add(COMMAND, 'command', 'args', 'cmd', 'entrypoint', 'arguments', 'test', 'onbuild', 'shell');
    rules.add(COMMAND, 'createdby', 'comment', 'output', 'runtimeargs');
  }
  const path = paths === undefined ? UNTOUCHED : addPaths(rules, paths);
  // Of drivers of volumes, networks, logs, secrets: passwords of NFS and CIFS, tokens of loggers, devices of the host.
  const options = secrets !== undefined ? SECRET : paths !== undefined ? path : undefined;
  rules.add(options, 'options', 'driveropts', 'volumecontext', 'publishcontext', 'clusterstoreopts');
  if (secrets !== undefined) addSecrets(rules);
  // A text in base64 (configs, OCI descriptors), or the state of a storage driver (GraphDriver).
  const data = rules.at({}, secrets === undefined ? undefined : REDACTED_BASE64);
  if (paths !== undefined) data.other = data.items = path;
  if (paths !== undefined || secrets !== undefined) rules.add(data, 'data');
  if (paths !== undefined) {
    // What a plugin may do: `{"Name": "mount", "Value": ["/var/lib/…"]}`.
    const privileges = rules.at({ value: path });
    privileges.items = privileges.other = privileges;
    rules.add(privileges, 'pluginprivilege', 'pluginspec');
  }
  // The state of a volume, from its driver; in other places `Status` is a text of the engine.
  const volume = rules.at({});
  if (options !== undefined) {
    rules.add(rules.at({ config: options, options }), 'logconfig');
    (volume.keys as Map<string, Place>).set('status', options).set('items', volume);
    volume.items = volume;
    rules.add(volume, 'volumes', 'volumeusage');
  }
  rules.end();
  const { common, at } = rules;
  const event = (): Place => eventPlace(wanted, at);
  return { common, at, volume, command: commands === undefined ? UNTOUCHED : COMMAND, path, event };
}

/** Paths of the host, by their keys. */
function addPaths(rules: Rules, paths: Glob): Place {
  const path = rules.text(pathEdit(paths));
  rules.add(path, 'source', 'mountpoint', 'logpath', 'resolvconfpath', 'hostnamepath', 'hostspath');
  rules.add(path, 'pathonhost', 'path', 'containeridfile', 'dockerrootdir', 'sandboxkey', 'cdispecdirs');
  rules.add(path, 'driverstatus', 'systemstatus', 'address', 'socket', 'initpath', 'initbinary', 'info');
  rules.add(rules.text(bindEdit(paths)), 'binds');
  rules.add(rules.text(profileEdit(paths)), 'securityoptions');
  return path;
}

function addSecrets(rules: Rules): void {
  rules.add(SECRET, 'jointokens', 'unlockkey', 'identitytoken', 'registrytoken', 'auth', 'password');
  rules.add(SECRET, 'caconfig', 'httpproxy', 'httpsproxy', 'mirrors', 'clusterstore', 'trustroot');
  rules.add(SECRET, 'credentialspec');
  rules.add(SECRET_BASE64, 'certissuersubject', 'certissuerpublickey');
  rules.add(rules.text(credentialEdit), 'securityopt');
  // Names inside a company, with their addresses. Addresses of resolvers stay: newer clients read them as such.
  const names = rules.text(() => REDACTED);
  rules.add(names, 'extrahosts', 'hosts', 'dnssearch', 'search', 'noproxy');
}

/** One event: what its attributes mean depends on its type, which comes first. */
function eventPlace(wanted: Wanted, at: Places['at']): Place {
  let type = '';
  // Go writes `Type` before `Actor`. For an image, `image` is a label of the user's.
  const noteType = everywhere((text) => void (type = text));
  const image = everywhere((text) => (type === 'container' && REFERENCE.test(text) ? undefined : REDACTED));
  const attributes = labelPlace(wanted, { ...KNOWN_ATTRIBUTES, image });
  if (wanted.commands !== undefined) attributes.keys = new Map([['comment', SECRET]]);
  return at({
    type: noteType,
    actor: at({ attributes }),
    ...(wanted.commands !== undefined && { status: ACTION_PLACE, action: ACTION_PLACE }),
  });
}

const shaped = (shape: RegExp): Place => everywhere((text) => (shape.test(text) ? undefined : REDACTED));
const REFERENCE = /^[\w.:@/+-]{1,300}$/;
const ID = shaped(/^[0-9a-f]{64}$/);
const COUNT = shaped(/^[0-9]{1,12}$/);
const DRIVER = shaped(/^(?:local|bridge|host|none|null|overlay|ipvlan|macvlan)$/);

/**
 * Attributes of events that the engine itself sets (daemon/events.go). A label of the same name stands in their
 * place where the engine sets none, so all but `name`, which it always sets, must look as they do.
 */
const KNOWN_ATTRIBUTES: Readonly<Record<string, Place>> = {
  name: shaped(REFERENCE),
  container: ID,
  execID: ID,
  imageID: shaped(/^sha256:[0-9a-f]{64}$/),
  exitCode: COUNT,
  execDuration: COUNT,
  reclaimed: COUNT,
  signal: shaped(/^(?:[0-9]{1,3}|SIG[A-Z]{2,8}(?:[+-][0-9]{1,2})?)$/),
  driver: DRIVER,
  type: DRIVER,
};

/** `exec_create: sh -c …`: what follows the colon may be a command; of `health_status: healthy` it is a state. */
const ACTION: Edit = (text) => {
  const [, action, rest] = /^([a-z_-]{1,40})(: .*)?$/s.exec(text) ?? [];
  if (action === undefined) return REDACTED;
  if (rest === undefined || /^: (?:healthy|unhealthy|starting|running|none)$/.test(rest)) return undefined;
  return `${action}: ${REDACTED}`;
};
const ACTION_PLACE: Place = everywhere(ACTION);

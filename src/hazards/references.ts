import type { Call, NamePlace, Reference } from '../docker/call.js';
import type { NameAt, ObjectKind } from '../docker/catalogue/traits.js';
import { type JsonObject, type JsonValue, asArray, asObject, asString, asStrings } from '../base/json.js';
import {
  formatImageName,
  givenImageName,
  joinImageName,
  pulledImageName,
  readImageName,
  shortImageName,
} from './image-name.js';
import type { Inspection } from './inspection.js';
import { bodyOf, bodyText, queryText, queryTexts } from './call-values.js';

type Facts = Inspection['facts'];

/** Networks that every engine has: they have no owner, and containers of all owners may join them. */
const PREDEFINED = new Set(['', 'default', 'bridge', 'none', 'host', 'nat', 'ingress']);

/** What stands in a place of which the catalogue says that it names an object. */
export function referencesAt(call: Call, at: NameAt): Reference[] {
  const { kind, in: part, steps, changes, everyTag, predefined } = at;
  const place: NamePlace = { in: part, steps, before: '', after: '' };
  return textsAt(call, at).flatMap((name): Reference[] => {
    if (everyTag === true) return imageOrRepository(name, queryText(call, 'tag'));
    if (predefined === true) return network(name, place);
    return [{ kind, name, use: changes === true ? 'change' : 'use', place }];
  });
}

function textsAt(call: Call, { in: part, steps, everyTag }: NameAt): readonly string[] {
  const [first = ''] = steps;
  if (part === 'path') return [call.path[first] ?? ''];
  if (part === 'body') return [bodyText(call, steps)];
  return everyTag === true ? queryTexts(call, first) : [queryText(call, first)];
}

const tag = (name: string, use: Reference['use'] = 'change'): Reference[] =>
  name === '' ? [] : [{ kind: 'tag', name: shortImageName(name), use, optional: true }];

/** A place in the body, by the keys that lead to it. */
export const at = (steps: readonly (string | number)[], before = '', after = ''): NamePlace => ({
  in: 'body',
  steps: steps.map(String),
  before,
  after,
});

/** `container:NAME` in any of the fields that take it. */
function joined(host: JsonObject, steps: readonly string[]): Reference[] {
  const prefix = 'container:';
  return ['NetworkMode', 'PidMode', 'IpcMode', 'UTSMode', 'UsernsMode', 'CgroupnsMode', 'Cgroup'].flatMap(
    (field): Reference[] => {
      const mode = asString(host[field]);
      if (!mode.startsWith(prefix)) return [];
      const place = at([...steps, field], prefix);
      return [{ kind: 'container', name: mode.slice(prefix.length), use: 'use', place }];
    },
  );
}

/** `NAME`, `NAME:ALIAS`, and `/NAME:/OWN/ALIAS` as an inspect prints it (opts.ParseLink). */
function linked(value: JsonValue | undefined, steps: readonly (string | number)[]): Reference[] {
  return asStrings(value).flatMap((link, index): Reference[] => {
    const colon = link.indexOf(':');
    const whole = colon < 0 ? link : link.slice(0, colon);
    const slash = whole.startsWith('/') ? '/' : '';
    const name = whole.slice(slash.length);
    const place = at([...steps, index], slash, colon < 0 ? `:${name}` : link.slice(colon));
    return name === '' ? [] : [{ kind: 'container', name, use: 'use', place }];
  });
}

/** A network, unless it is one that every engine has. */
export function network(name: string, place?: NamePlace): Reference[] {
  if (PREDEFINED.has(name) || name.startsWith('container:')) return [];
  return [{ kind: 'network', name, use: 'use', ...(place === undefined ? {} : { place }) }];
}

/** A volume that is not there yet is made, by the guard, before the engine would make it without a label. */
const volume = (name: string): Reference[] =>
  name === '' ? [] : [{ kind: 'volume', name, use: 'use', optional: true }];

function mounted(value: JsonValue | undefined): Reference[] {
  return asArray(value).flatMap((item): Reference[] => {
    const mount = asObject(item);
    const source = asString(mount['Source']);
    if (mount['Type'] === 'volume' || mount['Type'] === 'cluster') return volume(source);
    return mount['Type'] === 'image' ? [{ kind: 'image', name: source, use: 'use' }] : [];
  });
}

function hostReferences(host: JsonObject, steps: readonly string[]): Reference[] {
  const binds = asStrings(host['Binds']).flatMap((bind) => {
    const end = bind.indexOf(':');
    return end > 0 && !bind.startsWith('/') ? volume(bind.slice(0, end)) : [];
  });
  const from = asStrings(host['VolumesFrom']).flatMap((entry, index): Reference[] => {
    const [name = ''] = entry.split(':', 1);
    const place = at([...steps, 'VolumesFrom', index], '', entry.slice(name.length));
    return name === '' ? [] : [{ kind: 'container', name, use: 'use', place }];
  });
  return [
    ...joined(host, steps),
    ...network(asString(host['NetworkMode'])),
    ...from,
    ...linked(host['Links'], [...steps, 'Links']),
    ...binds,
    ...mounted(host['Mounts']),
  ];
}

/** The networks of a call that creates a container; NetworkID, where given, wins over the name. */
function endpointReferences(value: JsonValue | undefined, steps: readonly string[]): Reference[] {
  const endpoints = asObject(value);
  return Object.keys(endpoints).flatMap((name) => {
    const endpoint = asObject(endpoints[name]);
    return [
      ...network(name),
      ...network(asString(endpoint['NetworkID']), at([...steps, name, 'NetworkID'])),
      ...linked(endpoint['Links'], [...steps, name, 'Links']),
    ];
  });
}

/** What a new container depends on (api/types/container: Config, HostConfig; api/types/network: NetworkingConfig). */
export function createReferences(call: Call): Reference[] {
  const config = bodyOf(call);
  const image = call.operation.does.runsImageAt!;
  const networking = asObject(config['NetworkingConfig']);
  return [
    { kind: 'image', name: bodyText(call, image), use: 'use', place: at(image) },
    // INVARIANT: the top level too, where engines honour host settings when HostConfig is absent or null.
    ...hostReferences(config, []),
    ...hostReferences(asObject(config['HostConfig']), ['HostConfig']),
    ...endpointReferences(networking['EndpointsConfig'], ['NetworkingConfig', 'EndpointsConfig']),
  ];
}

/**
 * Nodes pull what they do not have, and look for it again and again. By a name alone they would run what another team
 * gives that name later; a digest cannot be given to anything else.
 */
function serviceImage(name: string): Reference[] {
  if (name === '') return [];
  const isPinned = (readImageName(name)?.digest ?? '') !== '';
  return [{ kind: 'image', name, use: 'use', ...(isPinned && { optional: true as const }) }];
}

/** What the tasks of a service depend on (api/types/swarm: ServiceSpec). */
export function serviceReferences(call: Call): Reference[] {
  const spec = bodyOf(call);
  const template = asObject(spec['TaskTemplate']);
  const run = asObject(template['ContainerSpec']);
  const steps = ['TaskTemplate', 'ContainerSpec'];
  const networks = (value: JsonValue | undefined, above: readonly string[]): Reference[] =>
    asArray(value).flatMap((item, index) =>
      network(asString(asObject(item)['Target']), at([...above, 'Networks', index, 'Target'])),
    );
  const files = (field: 'Secrets' | 'Configs', key: string, kind: ObjectKind): Reference[] =>
    asArray(run[field]).map((item, index) => ({
      kind,
      name: asString(asObject(item)[key]),
      use: 'use',
      place: at([...steps, field, index, key]),
    }));
  const attached = asString(asObject(template['NetworkAttachmentSpec'])['ContainerID']);
  const credential = asString(asObject(asObject(run['Privileges'])['CredentialSpec'])['Config']);
  return [
    ...serviceImage(bodyText(call, call.operation.does.runsImageAt!)),
    ...networks(template['Networks'], ['TaskTemplate']),
    ...networks(spec['Networks'], []),
    ...files('Secrets', 'SecretID', 'secret'),
    ...files('Configs', 'ConfigID', 'config'),
    ...(attached === '' ? [] : [{ kind: 'container', name: attached, use: 'use' } as const]),
    ...(credential === '' ? [] : [{ kind: 'config', name: credential, use: 'use' } as const]),
    ...mounted(run['Mounts']),
  ];
}

/** A fact names `beef` as `beef:latest`; an engine takes it for the start of an id as well. */
const asWritten = (name: string): string =>
  /^[0-9a-f]+:latest$/.test(name) ? name.slice(0, -':latest'.length) : name;

/** The facts of a build whose Dockerfile is not known yet are not there; it is judged again when they are. */
export function buildReferences(call: Call, facts: Facts): Reference[] {
  const list = (name: string): string[] => asStrings(facts[name]);
  const bases = [...list('build.from'), ...list('build.copy-from'), ...queryTexts(call, 'cachefrom')];
  const mode = queryText(call, 'networkmode');
  const prefix = 'container:';
  return [
    ...queryTexts(call, 't').flatMap((name) => tag(name)),
    ...bases
      .filter((name) => name !== 'scratch' && name !== '?')
      .map((name) => ({ kind: 'image', name: asWritten(name), use: 'use', optional: true }) as const),
    ...network(mode),
    ...(mode.startsWith(prefix)
      ? [
          {
            kind: 'container',
            name: mode.slice(prefix.length),
            use: 'use',
            place: { in: 'query', steps: ['networkmode'], before: prefix, after: '' },
          } as const,
        ]
      : []),
  ];
}

/** The tags that a pull or an import sets. */
export function pulledOrImported(call: Call): Reference[] {
  const from = queryText(call, 'fromImage');
  if (from === '') return tagged(call);
  const name = pulledImageName(from, queryText(call, 'tag'));
  // A text that the guard cannot read as a name may be one to the engine, so it is looked up as it stands.
  if (name === undefined) return tag(from, 'pull');
  // Without tag and digest engines pull all tags there are.
  const whole = name.tag === '' && name.digest === '';
  return whole ? [repository(name.name, 'pull')] : tag(formatImageName(name), 'pull');
}

/** Every image of a name. There need be none yet. */
const repository = (name: string, use: Reference['use']): Reference => ({
  kind: 'repository',
  name,
  use,
  optional: true,
});

/** Without a tag engines push, or save, all of them (distribution/push.go, image/tarexport/save.go). */
export function imageOrRepository(text: string, tag = ''): Reference[] {
  const given = joinImageName(text, tag);
  const name = given === undefined ? text : formatImageName(given);
  const whole = given !== undefined && given.tag === '' && given.digest === '';
  return [{ kind: 'image', name, use: 'use' }, ...(whole ? [repository(given.name, 'use')] : [])];
}

/** `repo` and `tag` apart. */
export function tagged(call: Call): Reference[] {
  const repo = queryText(call, 'repo');
  const name = givenImageName(repo, queryText(call, 'tag'));
  return tag(name === undefined ? repo : formatImageName(name));
}

/** Links of a container that joins a network. */
export function attachedLinks(call: Call): Reference[] {
  return linked(asObject(bodyOf(call)['EndpointConfig'])['Links'], ['EndpointConfig', 'Links']);
}

/** A name that may be free; an object that has it already belongs to the caller or to another owner. */
export function newVolume(call: Call): Reference[] {
  return volume(asString(bodyOf(call)['Name']));
}

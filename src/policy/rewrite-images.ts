import {
  formatImageName,
  pulledImageName,
  readImageName,
  shortImageName,
  type ImageName,
} from '../hazards/image-name.js';
import type { Operation } from '../docker/operation.js';
import { asString } from '../base/json.js';
import { queryText } from '../hazards/call-values.js';
import type { ReportAt } from './compile-rule.js';
import { describeValue } from './problems.js';
import { fieldOf, putField, putQuery, removeHeader, type Draft, type Step } from './rewrite-draft.js';

/** The complete name: `alpine` is `docker.io/library/alpine`. */
function completeName(name: string): string {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  if (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase()) return name;
  return slash < 0 ? `docker.io/library/${name}` : `docker.io/${name}`;
}

function registryOf(name: string): string {
  const complete = completeName(name);
  return complete.slice(0, complete.indexOf('/'));
}

/** A name with at most one wildcard: `*` is a run without a slash, `**` anything, both not empty. */
interface NamePattern {
  readonly prefix: string;
  readonly wildcard: '' | '*' | '**';
  readonly suffix: string;
}

interface Mapping {
  readonly from: NamePattern;
  readonly to: NamePattern;
  /** Maps each name to itself: an exception from the mappings after it. */
  readonly same: boolean;
}

function readPattern(text: string, report: (message: string) => void): NamePattern | undefined {
  const match = /^([^*]*)(\*{0,2})([^*]*)$/.exec(text);
  if (match === null) {
    report(`found ${describeValue(text)}; an image name may hold one * or **.`);
    return undefined;
  }
  const [, prefix = '', wildcard = '', suffix = ''] = match;
  const pattern = { prefix, wildcard: wildcard as NamePattern['wildcard'], suffix };
  if (text === '**') return pattern;
  const sample = `${prefix}${wildcard === '' ? '' : 'x'}${suffix}`;
  const image = readImageName(sample);
  if (image === undefined) {
    report(`found ${describeValue(text)}; expected an image name, such as "docker.io/library/*".`);
  } else if (image.tag !== '' || image.digest !== '') {
    report(
      `found ${describeValue(text)}; leave the tag or digest out: they stay as they are. "pin" sets digests.`,
    );
  } else if (completeName(image.name) !== sample) {
    const complete = completeName(`${prefix}${wildcard === '' ? '' : 'x'}${suffix}`);
    const shown = wildcard === '' ? complete : complete.replace(sample, text);
    report(`found ${describeValue(text)}; write the complete name, ${describeValue(shown)}.`);
  } else return pattern;
  return undefined;
}

/** What the wildcard stands for, `""` for a name without one; undefined when the name does not match. */
function matchName(pattern: NamePattern, name: string): string | undefined {
  const { prefix, wildcard, suffix } = pattern;
  if (wildcard === '') return name === prefix ? '' : undefined;
  const rest = name.length - prefix.length - suffix.length;
  if (rest <= 0 || !name.startsWith(prefix) || !name.endsWith(suffix)) return undefined;
  const part = name.slice(prefix.length, prefix.length + rest);
  return wildcard === '*' && part.includes('/') ? undefined : part;
}

/** May one name match both? Too careful where a wildcard does not cross slashes. */
function overlap(a: NamePattern, b: NamePattern): boolean {
  if (a.wildcard === '') return matchName(b, a.prefix) !== undefined;
  if (b.wildcard === '') return matchName(a, b.prefix) !== undefined;
  const prefixes = a.prefix.startsWith(b.prefix) || b.prefix.startsWith(a.prefix);
  return prefixes && (a.suffix.endsWith(b.suffix) || b.suffix.endsWith(a.suffix));
}

/** Does every name of `inner` match `outer`? False when in doubt. */
function within(inner: NamePattern, outer: NamePattern): boolean {
  if (inner.wildcard === '') return matchName(outer, inner.prefix) !== undefined;
  const wide = outer.wildcard === '**' || (outer.wildcard === '*' && inner.wildcard === '*');
  if (!wide || !inner.prefix.startsWith(outer.prefix) || !inner.suffix.endsWith(outer.suffix)) return false;
  const crossed = inner.prefix.slice(outer.prefix.length) + inner.suffix;
  return outer.wildcard === '**' || !crossed.includes('/');
}

/** INVARIANT: what came out of a mapping is not mapped again; otherwise what is sent would differ from what was judged. */
function mapsAgain(mapping: Mapping, all: readonly Mapping[]): boolean {
  if (mapping.same) return false;
  for (const candidate of all) {
    if (!candidate.same && overlap(mapping.to, candidate.from)) return true;
    if (candidate.same && within(mapping.to, candidate.from)) return false;
  }
  return false;
}

function prepareMappings(images: Readonly<Record<string, string>>, report: ReportAt): readonly Mapping[] {
  const mappings: Mapping[] = [];
  const keys: string[] = [];
  for (const [key, target] of Object.entries(images)) {
    const at = (message: string): void => report(['images', key], message);
    const from = readPattern(key, at);
    const to = readPattern(target, at);
    if (from === undefined || to === undefined) continue;
    if (to.wildcard !== '' && from.wildcard === '') {
      at(
        `found ${describeValue(target)} for a name without a wildcard; there is nothing to put in its place.`,
      );
    }
    mappings.push({ from, to, same: key === target });
    keys.push(key);
  }
  mappings.forEach((mapping, index) => {
    if (!mapsAgain(mapping, mappings)) return;
    const key = keys[index]!;
    const target = images[key]!;
    const hint = `its result may match a pattern of "images" again; put ${describeValue(target)}: ${describeValue(target)} first to leave such names alone.`;
    report(['images', key], hint);
  });
  return mappings;
}

/** Pins by short name with tag, as facts write it: `alpine:3.20`. */
function preparePins(pins: Readonly<Record<string, string>>, report: ReportAt): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [key, digest] of Object.entries(pins)) {
    const image = readImageName(key);
    if (image === undefined || image.digest !== '' || key.includes('*')) {
      report(
        ['pin', key],
        `found ${describeValue(key)}; expected an image with its tag, such as "alpine:3.20".`,
      );
    } else if (found.has(shortImageName(key))) {
      report(['pin', key], `${describeValue(shortImageName(key))} is pinned twice.`);
    } else found.set(shortImageName(key), digest);
  }
  return found;
}

/**
 * `pin` and `images`: pins count for the name a client gives and for the name it is replaced by. A pinned image is
 * `name@digest`; the engine ignores a tag beside a digest (moby reference/store.go, Get).
 * Ids of images, of 64 digits, stay as they are: they are no names.
 */
export function prepareImages(
  images: Readonly<Record<string, string>>,
  pins: Readonly<Record<string, string>>,
  report: ReportAt,
): (operation: Operation) => Step {
  const mappings = prepareMappings(images, report);
  const digests = preparePins(pins, report);

  const pin = (image: ImageName, all: boolean): ImageName => {
    if (image.tag === '' && (image.digest !== '' || all)) return image;
    const digest = digests.get(`${image.name}:${image.tag === '' ? 'latest' : image.tag}`);
    return digest === undefined ? image : { name: image.name, tag: '', digest };
  };
  const map = (image: ImageName): ImageName | undefined => {
    const complete = completeName(image.name);
    for (const { from, to, same } of mappings) {
      const part = matchName(from, complete);
      if (part === undefined) continue;
      if (same) return image;
      const name = readImageName(`${to.prefix}${to.wildcard === '' ? '' : part}${to.suffix}`);
      if (name === undefined || name.tag !== '') return undefined;
      return { ...image, name: name.name };
    }
    return image;
  };
  /** `all`: without a tag it means every tag (a pull), not `latest`. */
  const rewrite = (draft: Draft, image: ImageName, all: boolean): ImageName => {
    const mapped = map(pin(image, all));
    if (mapped === undefined) {
      draft.conflict = 'the name of its image cannot be replaced as "images" demands';
      return image;
    }
    const result = pin(mapped, all);
    // Credentials are for the registry that the client named; another one must not see them.
    if (registryOf(result.name) !== registryOf(image.name)) removeHeader(draft, 'x-registry-auth');
    return result;
  };
  const same = (a: ImageName, b: ImageName): boolean =>
    a.name === b.name && a.tag === b.tag && a.digest === b.digest;

  return ({ does }) => {
    const { runsImageAt: at } = does;
    if (at === undefined) {
      return (draft) => {
        const given = queryText(draft.next, 'fromImage');
        const image = pulledImageName(given, queryText(draft.next, 'tag'));
        if (image === undefined) return;
        const result = rewrite(draft, image, true);
        if (same(image, result)) return;
        const version = result.digest === '' ? result.tag : result.digest;
        putQuery(draft, 'fromImage', { type: 'string', value: result.name });
        putQuery(draft, 'tag', version === '' ? undefined : { type: 'string', value: version });
      };
    }
    return (draft) => {
      const image = readImageName(asString(fieldOf(draft, ...at)));
      if (image === undefined) return;
      const result = rewrite(draft, image, false);
      if (!same(image, result)) putField(draft, at, formatImageName(result));
    };
  };
}

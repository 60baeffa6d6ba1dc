// distribution/reference: grammar of names, tags and digests.
const PATH = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const DOMAIN = /^(?:[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*|\[[0-9a-fA-F:.]+\])(?::[0-9]+)?$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const DIGEST = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;
const ID = /^(?:sha256:)?[0-9a-f]{64}$/;

/** An image reference in parts: `name` in its short form (`alpine`, `registry.example.com/app`). */
export interface ImageName {
  readonly name: string;
  readonly tag: string;
  readonly digest: string;
}

/**
 * Reads an image reference as ParseNormalizedNamed of distribution/reference does, and shortens the name as
 * FamiliarName does: `docker.io/library/alpine`, `index.docker.io/alpine` and `alpine` are all `alpine`.
 * Undefined for ids and for texts that are no reference.
 */
export function readImageName(text: string): ImageName | undefined {
  if (text.length > 1024 || ID.test(text)) return undefined;
  const at = text.indexOf('@');
  const digest = at < 0 ? '' : text.slice(at + 1);
  if (at >= 0 && !DIGEST.test(digest)) return undefined;
  const rest = at < 0 ? text : text.slice(0, at);
  const colon = rest.indexOf(':', rest.lastIndexOf('/') + 1);
  const tag = colon < 0 ? '' : rest.slice(colon + 1);
  if (colon >= 0 && !TAG.test(tag)) return undefined;
  const full = colon < 0 ? rest : rest.slice(0, colon);
  const domain = domainOf(full);
  const path = domain === '' ? full : full.slice(domain.length + 1);
  if (!PATH.test(path)) return undefined;
  if (domain !== '' && domain !== 'docker.io' && domain !== 'index.docker.io')
    return DOMAIN.test(domain) ? { name: full, tag, digest } : undefined;
  const isOfficial = path.startsWith('library/') && !path.includes('/', 8);
  return { name: isOfficial ? path.slice(8) : path, tag, digest };
}

/** What stands before the first slash of a name, when that is a host (splitDockerDomain of distribution/reference); else `""`. */
function domainOf(name: string): string {
  const slash = name.indexOf('/');
  if (slash <= 0) return '';
  const first = name.slice(0, slash);
  const isDomain =
    first.includes('.') || first.includes(':') || first === 'localhost' || first !== first.toLowerCase();
  return isDomain ? first : '';
}

export function formatImageName({ name, tag, digest }: ImageName): string {
  return name + (tag === '' ? '' : `:${tag}`) + (digest === '' ? '' : `@${digest}`);
}

/** The one form in which facts name an image; without tag and digest it is `:latest`. Other text stays as it is. */
export function shortImageName(text: string): string {
  const image = readImageName(text);
  if (image === undefined) return text;
  return formatImageName(image.tag === '' && image.digest === '' ? { ...image, tag: 'latest' } : image);
}

/** The facts of one image. All but `image` are `""` where it is no name, or may be an id. */
export interface ImageFacts {
  /** In its one form, see `shortImageName`. */
  readonly image: string;
  /** Host and port of the registry; `docker.io` where none is written. */
  readonly registry: string;
  readonly tag: string;
  /** `sha256:…` */
  readonly digest: string;
}

/** Of text that is no image name. */
export function unnamedImage(text: string): ImageFacts {
  return { image: text, registry: '', tag: '', digest: '' };
}

/** Of a name as it is: no tag is made up. */
export function namedImage(image: ImageName): ImageFacts {
  const { name, tag, digest } = image;
  return { image: formatImageName(image), registry: domainOf(name) || 'docker.io', tag, digest };
}

/**
 * Of an image that an engine looks up among its own; without tag and digest it is `:latest`.
 * INVARIANT: what an engine may take for the id of any local image (`beef`, `6297af549210`) has no registry: it looks a
 * bare word up as a name first, then as the start of an id.
 */
export function imageFacts(text: string): ImageFacts {
  const given = readImageName(text);
  if (given === undefined) return unnamedImage(text);
  const facts = namedImage(given.tag === '' && given.digest === '' ? { ...given, tag: 'latest' } : given);
  return /^[0-9a-f]+$/.test(text) ? unnamedImage(facts.image) : facts;
}

/** Name and separate tag parameter of a push or a pull: a tag given apart wins, and may be a digest. */
export function joinImageName(text: string, tag: string): ImageName | undefined {
  const image = readImageName(text);
  if (image === undefined || tag === '') return image;
  return DIGEST.test(tag) ? { name: image.name, tag: '', digest: tag } : { ...image, tag };
}

/** What a pull fetches (`fromImage` and `tag`): the daemon drops one trailing colon (daemon/images/image_pull.go). */
export function pulledImageName(fromImage: string, tag: string): ImageName | undefined {
  return joinImageName(fromImage.endsWith(':') ? fromImage.slice(0, -1) : fromImage, tag);
}

/**
 * The name that an image gets (`repo` and `tag`). Beside a tag, a digest in `repo` counts for nothing: the daemon cuts it
 * off and moves the tag (daemon/images/image_tag.go, TrimNamed).
 */
export function givenImageName(repo: string, tag: string): ImageName | undefined {
  const image = readImageName(repo);
  return image === undefined || tag === '' ? image : { name: image.name, tag, digest: '' };
}

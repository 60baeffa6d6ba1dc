import type { Call } from '../docker/call.js';
import { type JsonValue, asObject, asString, isZero } from '../base/json.js';
import { addHazard, setFact, type Findings } from './findings.js';
import {
  formatImageName,
  imageFacts,
  givenImageName,
  joinImageName,
  pulledImageName,
  namedImage,
  shortImageName,
  unnamedImage,
  type ImageFacts,
  type ImageName,
} from './image-name.js';
import { queryText, queryTexts } from './query.js';

function setImageFacts(found: Findings, { image, registry, tag, digest }: ImageFacts): void {
  setFact(found, 'image', image);
  setFact(found, 'registry', registry);
  setFact(found, 'image.tag', tag);
  setFact(found, 'image.digest', digest);
}

/** An image that the engine looks up among its own. */
export function setImage(found: Findings, text: string): void {
  setImageFacts(found, imageFacts(text));
}

/** An image that is pulled or pushed. Without a tag all tags are meant, so `latest` is not filled in. */
function setTransfer(found: Findings, text: string, image: ImageName | undefined): ImageFacts {
  const facts = image === undefined ? unnamedImage(text) : namedImage(image);
  setImageFacts(found, facts);
  return facts;
}

/** The name an image gets: without a tag it is `latest`. */
function target(repository: string, tag: string): string {
  const image = givenImageName(repository, tag);
  return shortImageName(image === undefined ? repository : formatImageName(image));
}

/**
 * ImageCreate pulls when `fromImage` is there, else imports (router/image/image_routes.go). A call that holds both
 * is judged as both.
 */
export function inspectImageCreate(_body: JsonValue, found: Findings, call: Call): void {
  const fromImage = queryText(call, 'fromImage');
  const fromSrc = queryText(call, 'fromSrc');
  setFact(found, 'platform', queryText(call, 'platform'));
  setImageFacts(found, unnamedImage(''));
  setFact(found, 'image.target', '');
  if (fromImage !== '') inspectPull(fromImage, queryText(call, 'tag'), found);
  if (fromImage !== '' && fromSrc === '') return;
  setFact(found, 'image.target', target(queryText(call, 'repo'), queryText(call, 'tag')));
  // `-` is the body; anything else is fetched by the daemon, also without a scheme.
  if (fromSrc === '-' || fromSrc === '') addHazard(found, 'opaque', 'image-archive');
  if (fromSrc !== '-' && fromSrc !== '') addHazard(found, 'import', fromSrc);
  inspectChanges(call, found);
}

function inspectPull(fromImage: string, tag: string, found: Findings): void {
  const facts = setTransfer(found, fromImage, pulledImageName(fromImage, tag));
  if (facts.tag === '' && facts.digest === '') addHazard(found, 'pull-all-tags', facts.image);
}

/** Dockerfile instructions of commit and import. */
function inspectChanges(call: Call, found: Findings): void {
  for (const change of queryTexts(call, 'changes'))
    if (change !== '') addHazard(found, 'image-change', change);
}

export function inspectCommit(body: JsonValue, found: Findings, call: Call): void {
  const container = queryText(call, 'container');
  setFact(found, 'container', container);
  setFact(found, 'image.target', target(queryText(call, 'repo'), queryText(call, 'tag')));
  if (container.slice(1).includes('/')) addHazard(found, 'link-alias', container);
  inspectChanges(call, found);
  const config = asObject(body);
  for (const field of Object.keys(config)) {
    if (!isZero(config[field] ?? null)) addHazard(found, 'image-change', field);
  }
}

export function inspectTag(_body: JsonValue, found: Findings, call: Call): void {
  setFact(found, 'image.target', target(queryText(call, 'repo'), queryText(call, 'tag')));
}

export function inspectPush(_body: JsonValue, found: Findings, call: Call): void {
  const name = call.path['name'] ?? '';
  setTransfer(found, name, joinImageName(name, queryText(call, 'tag')));
  setFact(found, 'platform', queryText(call, 'platform'));
}

export function inspectImage(_body: JsonValue, found: Findings, call: Call): void {
  setImage(found, call.path['name'] ?? '');
}

export function inspectImages(_body: JsonValue, found: Findings, call: Call): void {
  setFact(found, 'images', queryTexts(call, 'names').map(shortImageName));
}

export function inspectLoad(_body: JsonValue, found: Findings): void {
  addHazard(found, 'opaque', 'image-archive');
}

/** Although it is a GET, the daemon connects to the registry that the name holds. */
export function inspectDistribution(body: JsonValue, found: Findings, call: Call): void {
  inspectImage(body, found, call);
  addHazard(found, 'daemon-connects', shortImageName(call.path['name'] ?? ''));
}

export function inspectSearch(_body: JsonValue, found: Findings, call: Call): void {
  const term = queryText(call, 'term');
  setFact(found, 'search.term', term);
  addHazard(found, 'daemon-connects', term);
}

/** The body holds credentials: only the server's name is inspected. */
export function inspectLogin(body: JsonValue, found: Findings): void {
  const server = asString(asObject(body)['serveraddress']);
  setFact(found, 'registry', server === '' ? 'docker.io' : server);
  addHazard(found, 'registry-login', server === '' ? 'docker.io' : server);
}

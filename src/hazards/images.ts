import type { Call } from '../docker/call.js';
import { type JsonValue, asObject, asString, isZero } from '../base/json.js';
import { raise, state, type Findings } from './findings.js';
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

function stateFacts(found: Findings, { image, registry, tag, digest }: ImageFacts): void {
  state(found, 'image', image);
  state(found, 'registry', registry);
  state(found, 'image.tag', tag);
  state(found, 'image.digest', digest);
}

/** An image that the engine looks up among its own. */
export function stateImage(found: Findings, text: string): void {
  stateFacts(found, imageFacts(text));
}

/** An image on its way from or to a registry. No tag means all of them, so none is made up. */
function stateTransfer(found: Findings, text: string, image: ImageName | undefined): ImageFacts {
  const facts = image === undefined ? unnamedImage(text) : namedImage(image);
  stateFacts(found, facts);
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
  state(found, 'platform', queryText(call, 'platform'));
  stateFacts(found, unnamedImage(''));
  state(found, 'image.target', '');
  if (fromImage !== '') inspectPull(fromImage, queryText(call, 'tag'), found);
  if (fromImage !== '' && fromSrc === '') return;
  state(found, 'image.target', target(queryText(call, 'repo'), queryText(call, 'tag')));
  // `-` is the body; anything else is fetched by the daemon, also without a scheme.
  if (fromSrc === '-' || fromSrc === '') raise(found, 'opaque', 'image-archive');
  if (fromSrc !== '-' && fromSrc !== '') raise(found, 'import', fromSrc);
  inspectChanges(call, found);
}

function inspectPull(fromImage: string, tag: string, found: Findings): void {
  const facts = stateTransfer(found, fromImage, pulledImageName(fromImage, tag));
  if (facts.tag === '' && facts.digest === '') raise(found, 'pull-all-tags', facts.image);
}

/** Dockerfile instructions of commit and import. */
function inspectChanges(call: Call, found: Findings): void {
  for (const change of queryTexts(call, 'changes')) if (change !== '') raise(found, 'image-change', change);
}

export function inspectCommit(body: JsonValue, found: Findings, call: Call): void {
  const container = queryText(call, 'container');
  state(found, 'container', container);
  state(found, 'image.target', target(queryText(call, 'repo'), queryText(call, 'tag')));
  if (container.slice(1).includes('/')) raise(found, 'link-alias', container);
  inspectChanges(call, found);
  const config = asObject(body);
  for (const field of Object.keys(config)) {
    if (!isZero(config[field] ?? null)) raise(found, 'image-change', field);
  }
}

export function inspectTag(_body: JsonValue, found: Findings, call: Call): void {
  state(found, 'image.target', target(queryText(call, 'repo'), queryText(call, 'tag')));
}

export function inspectPush(_body: JsonValue, found: Findings, call: Call): void {
  const name = call.path['name'] ?? '';
  stateTransfer(found, name, joinImageName(name, queryText(call, 'tag')));
  state(found, 'platform', queryText(call, 'platform'));
}

export function inspectImage(_body: JsonValue, found: Findings, call: Call): void {
  stateImage(found, call.path['name'] ?? '');
}

export function inspectImages(_body: JsonValue, found: Findings, call: Call): void {
  state(found, 'images', queryTexts(call, 'names').map(shortImageName));
}

export function inspectLoad(_body: JsonValue, found: Findings): void {
  raise(found, 'opaque', 'image-archive');
}

/** GET, and yet the daemon opens a connection to whatever registry the name holds. */
export function inspectDistribution(body: JsonValue, found: Findings, call: Call): void {
  inspectImage(body, found, call);
  raise(found, 'daemon-connects', shortImageName(call.path['name'] ?? ''));
}

export function inspectSearch(_body: JsonValue, found: Findings, call: Call): void {
  const term = queryText(call, 'term');
  state(found, 'search.term', term);
  raise(found, 'daemon-connects', term);
}

/** The body holds credentials: only the server's name is looked at. */
export function inspectLogin(body: JsonValue, found: Findings): void {
  const server = asString(asObject(body)['serveraddress']);
  state(found, 'registry', server === '' ? 'docker.io' : server);
  raise(found, 'registry-login', server === '' ? 'docker.io' : server);
}

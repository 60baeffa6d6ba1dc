import { isBefore, mayBeBefore, type Call } from '../docker/call.js';
import { type JsonValue, asObject, asString, isZero } from '../base/json.js';
import { addHazard, setFact, type Findings } from './inspection.js';
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
import { queryText, queryTexts } from './call-values.js';

function setImageFacts(findings: Findings, { image, registry, tag, digest }: ImageFacts): void {
  setFact(findings, 'image', image);
  setFact(findings, 'registry', registry);
  setFact(findings, 'image.tag', tag);
  setFact(findings, 'image.digest', digest);
}

/** An image that the engine looks up among its own. */
export function setImage(findings: Findings, text: string): void {
  setImageFacts(findings, imageFacts(text));
}

/** An image that is pulled or pushed. Without a tag all tags are meant, so `latest` is not filled in. */
function setTransfer(findings: Findings, text: string, image: ImageName | undefined): ImageFacts {
  const facts = image === undefined ? unnamedImage(text) : namedImage(image);
  setImageFacts(findings, facts);
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
export function inspectImageCreate(_body: JsonValue, findings: Findings, call: Call): void {
  const fromImage = queryText(call, 'fromImage');
  const fromSrc = queryText(call, 'fromSrc');
  setFact(findings, 'platform', isBefore(call, 32) ? '' : queryText(call, 'platform'));
  setImageFacts(findings, unnamedImage(''));
  setFact(findings, 'image.target', '');
  if (fromImage !== '') inspectPull(fromImage, queryText(call, 'tag'), findings);
  if (fromImage !== '' && fromSrc === '') return;
  setFact(findings, 'image.target', target(queryText(call, 'repo'), queryText(call, 'tag')));
  // `-` is the body; anything else is fetched by the daemon, also without a scheme.
  if (fromSrc === '-' || fromSrc === '') addHazard(findings, 'opaque', 'image-archive');
  if (fromSrc !== '-' && fromSrc !== '') addHazard(findings, 'import', fromSrc);
  inspectChanges(call, findings);
}

function inspectPull(fromImage: string, tag: string, findings: Findings): void {
  const facts = setTransfer(findings, fromImage, pulledImageName(fromImage, tag));
  if (facts.tag === '' && facts.digest === '') addHazard(findings, 'pull-all-tags', facts.image);
}

/** `ENV NAME=value …`, `ENV NAME value`: up to the first value. */
const ENV_VALUE = /^(\s*ENV\s+[^\s=]{1,256}(?:=|\s+)).+$/is;

/** Dockerfile instructions of commit and import: one in each line, as the engine reads them. */
function inspectChanges(call: Call, findings: Findings): void {
  for (const line of queryTexts(call, 'changes').flatMap((change) => change.split('\n')))
    // Hazards are recorded, and values of variables may be secrets.
    if (line !== '') addHazard(findings, 'image-change', line.replace(ENV_VALUE, '$1***'));
}

export function inspectCommit(body: JsonValue, findings: Findings, call: Call): void {
  const container = queryText(call, 'container');
  setFact(findings, 'container', container);
  setFact(findings, 'image.target', target(queryText(call, 'repo'), queryText(call, 'tag')));
  if (container.slice(1).includes('/')) addHazard(findings, 'link-alias', container);
  inspectChanges(call, findings);
  const config = asObject(body);
  for (const field of Object.keys(config)) {
    if (!isZero(config[field] ?? null)) addHazard(findings, 'image-change', field);
  }
}

export function inspectTag(_body: JsonValue, findings: Findings, call: Call): void {
  setFact(findings, 'image.target', target(queryText(call, 'repo'), queryText(call, 'tag')));
}

export function inspectPush(_body: JsonValue, findings: Findings, call: Call): void {
  const name = call.path['name'] ?? '';
  setTransfer(findings, name, joinImageName(name, queryText(call, 'tag')));
  setFact(findings, 'platform', mayBeBefore(call, 46) ? '' : queryText(call, 'platform'));
}

export function inspectImage(_body: JsonValue, findings: Findings, call: Call): void {
  setImage(findings, call.path['name'] ?? '');
}

export function inspectImages(_body: JsonValue, findings: Findings, call: Call): void {
  setFact(findings, 'images', queryTexts(call, 'names').map(shortImageName));
}

export function inspectLoad(_body: JsonValue, findings: Findings): void {
  addHazard(findings, 'opaque', 'image-archive');
}

/** Although it is a GET, the daemon connects to the registry that the name holds. */
export function inspectDistribution(body: JsonValue, findings: Findings, call: Call): void {
  inspectImage(body, findings, call);
  addHazard(findings, 'daemon-connects', shortImageName(call.path['name'] ?? ''));
}

export function inspectSearch(_body: JsonValue, findings: Findings, call: Call): void {
  const term = queryText(call, 'term');
  setFact(findings, 'search.term', term);
  addHazard(findings, 'daemon-connects', term);
}

/** The body holds credentials: only the server's name is inspected. */
export function inspectLogin(body: JsonValue, findings: Findings): void {
  const server = asString(asObject(body)['serveraddress']);
  setFact(findings, 'registry', server === '' ? 'docker.io' : server);
  addHazard(findings, 'registry-login', server === '' ? 'docker.io' : server);
}

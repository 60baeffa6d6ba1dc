import type { ContextReading } from '../docker/build-context.js';
import type { Call } from '../docker/call.js';
import { readDockerfile } from '../docker/dockerfile/read.js';
import { type JsonValue, asArray, asObject, asString, keysOf } from '../base/json.js';
import { DOCKERFILE_FACTS, inspectDockerfile, setUnreadDockerfile } from './dockerfile.js';
import { addHazard, setFact, type Findings } from './findings.js';
import { shortImageName } from './image-name.js';
import { cleanPath } from './path.js';
import { queryFlag, queryJson, queryNumber, queryText, queryTexts } from './query.js';

// builder/dockerfile/buildargs.go: these need no ARG line. NO_PROXY too: it leads around a proxy that filters.
const PROXY_ARGUMENT = /^(?:http|https|ftp|all|no)_proxy$/i;

const OWN_NETWORKS = new Set(['', 'default', 'none', 'bridge']);

/** `remote=` in any form: what it fetches is not in this request and cannot be inspected. */
function inspectRemote(remote: string, found: Findings): void {
  if (remote === '') return;
  if (remote === 'client-session') addHazard(found, 'opaque', 'session-build');
  else if (remote === 'upload-request') addHazard(found, 'opaque', 'upload-request');
  else addHazard(found, 'remote-context', remote);
}

/**
 * BuildKit takes frontends, contexts and secrets from elsewhere than the request: its builds, the parts of its
 * two-request uploads (`buildid=upload-request:X`) and its exporters are opaque until they are inspected.
 */
function inspectBuilder(call: Call, found: Findings): void {
  const version = queryText(call, 'version');
  if (version !== '' && version !== '1') addHazard(found, 'opaque', 'buildkit');
  for (const name of ['session', 'buildid', 'outputs']) {
    const value = queryText(call, name);
    if (value !== '' && value !== '[]' && value !== 'null') addHazard(found, 'opaque', 'buildkit');
  }
}

/** The path is joined to the context's root and cleaned before it is opened (builder/remotecontext/detect.go). */
function inspectPath(path: string, found: Findings): string {
  const clean = path === '' ? '' : cleanPath(path);
  // `a/../x` is the same file as `x` only where `a` is no link: it names two files.
  if (/(?:^|\/)\.\.(?:\/|$)/.test(path)) addHazard(found, 'build-dockerfile', path);
  return clean;
}

const CONTEXT_FACTS = [...DOCKERFILE_FACTS, 'build.context-bytes', 'build.context-entries'] as const;

/** A context that was not read counts as larger than any limit. */
function setContextSize(context: ContextReading | undefined, present: boolean, found: Findings): void {
  const unread = present ? Number.MAX_SAFE_INTEGER : 0;
  setFact(found, 'build.context-bytes', context?.bytes ?? unread);
  setFact(found, 'build.context-entries', context?.entries ?? unread);
}

/**
 * The context: what its Dockerfile does, or that it was not read. Of an ambiguous context nothing is
 * believed: the Dockerfile found in it may not be the one that is built.
 */
function inspectContext({ body, query }: Call, found: Findings): void {
  const context = body.kind === 'stream' ? body.context : undefined;
  if (context === 'pending') {
    found.pending = CONTEXT_FACTS;
    return;
  }
  setContextSize(context, body.kind === 'stream' && body.present, found);
  if (context === undefined || context.ambiguities.length > 0) {
    setUnreadDockerfile(found);
    const content = context?.dockerfile?.content;
    if (content !== undefined) found.dockerfile = { content, reading: { clear: false, reason: '' } };
    if (context !== undefined) setFact(found, 'build.unclear', context.ambiguities);
    if (context !== undefined || body.kind !== 'stream' || body.present)
      addHazard(found, 'opaque', 'context');
    return;
  }
  if (context.dockerfile === undefined) {
    inspectDockerfile({ clear: false, reason: 'the context has no Dockerfile' }, found);
    return;
  }
  const args = query['buildargs'];
  const reading = readDockerfile(context.dockerfile.content, {
    buildArgs: (args?.type === 'json' ? args.value : {}) as Record<string, string | null>,
    target: query['target']?.type === 'string' ? query['target'].value : '',
    platform: query['platform']?.type === 'string' ? query['platform'].value : '',
  });
  found.dockerfile = { content: context.dockerfile.content, reading };
  inspectDockerfile(reading, found);
}

export function inspectBuild(_body: JsonValue, found: Findings, call: Call): void {
  const network = queryText(call, 'networkmode');
  const remote = queryText(call, 'remote');
  const dockerfile = inspectPath(queryText(call, 'dockerfile'), found);
  const args = keysOf(queryJson(call, 'buildargs'));
  setFact(found, 'build.tags', queryTexts(call, 't').map(shortImageName));
  setFact(found, 'build.dockerfile', dockerfile);
  setFact(found, 'build.remote', remote);
  setFact(found, 'build.args', args);
  setFact(found, 'build.labels', keysOf(queryJson(call, 'labels')));
  setFact(found, 'build.platform', queryText(call, 'platform'));
  setFact(found, 'build.network', network);
  setFact(found, 'build.target', queryText(call, 'target'));
  setFact(found, 'build.pull', queryFlag(call, 'pull'));
  setFact(found, 'build.cache-from', queryTexts(call, 'cachefrom'));
  setFact(found, 'build.memory', queryNumber(call, 'memory'));

  inspectRemote(remote, found);
  inspectBuilder(call, found);
  inspectContext(call, found);
  if (!OWN_NETWORKS.has(network)) addHazard(found, 'build-network', network);
  for (const entry of queryTexts(call, 'extrahosts')) addHazard(found, 'build-extra-hosts', entry);
  const parent = queryText(call, 'cgroupparent');
  if (parent !== '') addHazard(found, 'build-cgroup-parent', cleanPath(parent));
  for (const option of queryTexts(call, 'securityopt')) addHazard(found, 'build-security-opt', option);
  const isolation = queryText(call, 'isolation');
  if (isolation !== '' && isolation !== 'default') addHazard(found, 'build-isolation', isolation);
  for (const limit of asArray(queryJson(call, 'ulimits'))) {
    addHazard(found, 'build-ulimit', asString(asObject(limit)['Name']));
  }
  for (const name of args) {
    if (PROXY_ARGUMENT.test(name) || name.startsWith('BUILDKIT_')) addHazard(found, 'build-arg', name);
  }
}

import type { ContextReading } from '../docker/build-context.js';
import { isBefore, type Call } from '../docker/call.js';
import type { DockerfileOptions } from '../docker/dockerfile/model.js';
import { readDockerfile } from '../docker/dockerfile/read.js';
import { type JsonValue, asArray, asObject, asString, keysOf } from '../base/json.js';
import type { Work } from '../base/work.js';
import { DOCKERFILE_FACTS, inspectDockerfile, setUnreadDockerfile } from './dockerfile.js';
import { BOUNDS, checkBound } from './engine-load.js';
import { addFindings, addHazard, newFindings, setFact, type Findings } from './inspection.js';
import { shortImageName } from './image-name.js';
import { cleanPath } from './host-access.js';
import { queryFlag, queryJson, queryNumber, queryText, queryTexts } from './call-values.js';

// builder/dockerfile/buildargs.go: these need no ARG line. NO_PROXY too: it leads around a proxy that filters.
const PROXY_ARGUMENT = /^(?:http|https|ftp|all|no)_proxy$/i;

const OWN_NETWORKS = new Set(['', 'default', 'none', 'bridge']);

/** `remote=` in any form: what it fetches is not in this request and cannot be inspected. */
function inspectRemote(remote: string, findings: Findings): void {
  if (remote === '') return;
  if (remote === 'client-session') addHazard(findings, 'opaque', 'session-build');
  else if (remote === 'upload-request') addHazard(findings, 'opaque', 'upload-request');
  else addHazard(findings, 'remote-context', remote);
}

/**
 * BuildKit takes frontends, contexts and secrets from elsewhere than the request: its builds, the parts of its
 * two-request uploads (`buildid=upload-request:X`) and its exporters are opaque until they are inspected.
 */
function inspectBuilder(call: Call, findings: Findings): void {
  const version = queryText(call, 'version');
  if (version !== '' && version !== '1') addHazard(findings, 'opaque', 'buildkit');
  for (const name of ['session', 'buildid', 'outputs']) {
    const value = queryText(call, name);
    if (value !== '' && value !== '[]' && value !== 'null') addHazard(findings, 'opaque', 'buildkit');
  }
}

/** The path is joined to the context's root and cleaned before it is opened (builder/remotecontext/detect.go). */
function inspectPath(path: string, findings: Findings): string {
  const clean = path === '' ? '' : cleanPath(path);
  // `a/../x` is the same file as `x` only where `a` is no link: it names two files.
  if (/(?:^|\/)\.\.(?:\/|$)/.test(path)) addHazard(findings, 'build-dockerfile', path);
  return clean;
}

const platformOf = (call: Call): string => (isBefore(call, 32) ? '' : queryText(call, 'platform'));

const CONTEXT_FACTS = [...DOCKERFILE_FACTS, 'build.context-bytes', 'build.context-entries'] as const;

/** A context that was not read counts as larger than any limit. */
function setContextSize(context: ContextReading | undefined, present: boolean, findings: Findings): void {
  const unread = present ? Number.MAX_SAFE_INTEGER : 0;
  setFact(findings, 'build.context-bytes', context?.bytes ?? unread);
  setFact(findings, 'build.context-entries', context?.entries ?? unread);
}

/**
 * The context: what its Dockerfile does, or that it was not read. Of an ambiguous context nothing is
 * believed: the Dockerfile found in it may not be the one that is built.
 */
function inspectContext(call: Call, findings: Findings): void {
  const { body, query } = call;
  const context = body.kind === 'stream' ? body.context : undefined;
  if (context === 'pending') {
    findings.pending = CONTEXT_FACTS;
    return;
  }
  setContextSize(context, body.kind === 'stream' && body.present, findings);
  if (context === undefined || context.ambiguities.length > 0) {
    setUnreadDockerfile(findings);
    const content = context?.dockerfile?.content;
    if (content !== undefined) findings.dockerfile = { content, reading: { clear: false, reason: '' } };
    if (context !== undefined) setFact(findings, 'build.unclear', context.ambiguities);
    if (context !== undefined || body.kind !== 'stream' || body.present)
      addHazard(findings, 'opaque', 'context');
    return;
  }
  if (context.dockerfile === undefined) {
    inspectDockerfile({ clear: false, reason: 'the context has no Dockerfile' }, findings);
    return;
  }
  const args = query['buildargs'];
  addFindings(
    findings,
    dockerfileFindings(context, context.dockerfile.content, findings.work, {
      buildArgs: (args?.type === 'json' ? args.value : {}) as Record<string, string | null>,
      target: query['target']?.type === 'string' ? query['target'].value : '',
      platform: platformOf(call),
    }),
  );
}

/** By context, as found with these options. */
const inspected = new WeakMap<ContextReading, { readonly options: string; readonly found: Findings }>();

/** What a Dockerfile does. It is inspected once for all the calls that rules with a rewrite make of one. */
function dockerfileFindings(
  context: ContextReading,
  content: Uint8Array,
  work: Work,
  given: DockerfileOptions,
): Findings {
  const options = JSON.stringify(given);
  const known = inspected.get(context);
  if (known?.options === options) return known.found;
  const found = newFindings(work);
  const reading = readDockerfile(content, given, work);
  found.dockerfile = { content, reading };
  inspectDockerfile(reading, found);
  inspected.set(context, { options, found });
  return found;
}

export function inspectBuild(_body: JsonValue, findings: Findings, call: Call): void {
  const network = queryText(call, 'networkmode');
  const remote = queryText(call, 'remote');
  const dockerfile = inspectPath(queryText(call, 'dockerfile'), findings);
  const args = keysOf(queryJson(call, 'buildargs'));
  setFact(findings, 'build.tags', queryTexts(call, 't').map(shortImageName));
  setFact(findings, 'build.dockerfile', dockerfile);
  setFact(findings, 'build.remote', remote);
  setFact(findings, 'build.args', args);
  setFact(findings, 'build.labels', keysOf(queryJson(call, 'labels')));
  setFact(findings, 'build.platform', platformOf(call));
  setFact(findings, 'build.network', network);
  setFact(findings, 'build.target', queryText(call, 'target'));
  setFact(findings, 'build.pull', queryFlag(call, 'pull'));
  setFact(findings, 'build.cache-from', queryTexts(call, 'cachefrom'));
  setFact(findings, 'build.memory', queryNumber(call, 'memory'));
  const shares = queryNumber(call, 'cpushares');
  if (shares > BOUNDS['cpu-shares'].most) checkBound('cpu-shares', shares, findings);

  inspectRemote(remote, findings);
  inspectBuilder(call, findings);
  inspectContext(call, findings);
  if (!OWN_NETWORKS.has(network)) addHazard(findings, 'build-network', network);
  for (const entry of queryTexts(call, 'extrahosts')) addHazard(findings, 'build-extra-hosts', entry);
  const parent = queryText(call, 'cgroupparent');
  if (parent !== '') addHazard(findings, 'build-cgroup-parent', cleanPath(parent));
  for (const option of queryTexts(call, 'securityopt')) addHazard(findings, 'build-security-opt', option);
  const isolation = queryText(call, 'isolation');
  if (isolation !== '' && isolation !== 'default') addHazard(findings, 'build-isolation', isolation);
  for (const limit of asArray(queryJson(call, 'ulimits'))) {
    addHazard(findings, 'build-ulimit', asString(asObject(limit)['Name']));
  }
  for (const name of args) {
    if (PROXY_ARGUMENT.test(name) || name.startsWith('BUILDKIT_')) addHazard(findings, 'build-arg', name);
  }
}

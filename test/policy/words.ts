import type { Call } from '../../src/docker/call.js';
import type { FactValue, Hazard, Inspection } from '../../src/hazards/inspection.js';
import { compilePolicy, type CompiledPolicy } from '../../src/policy/compile.js';
import { decide, sourcesOf } from '../../src/policy/decide.js';
import type { Verdict } from '../../src/policy/compiled.js';
import type { Vocabulary } from '../../src/policy/vocabulary.js';

/** A small vocabulary, so that these tests do not change with the catalogues. */
export const WORDS: Vocabulary = {
  operations: [
    { id: 'SystemPing', sets: ['read', 'system'] },
    { id: 'ContainerList', sets: ['read'] },
    { id: 'ContainerCreate', sets: ['run'] },
    { id: 'ContainerStart', sets: ['run'] },
    { id: 'ContainerExec', sets: ['exec'] },
    { id: 'ImageBuild', sets: ['build', 'images'] },
  ],
  hazards: [
    { kind: 'privileged', argument: 'none', title: 'All powers' },
    { kind: 'bind', argument: 'path', title: 'A host path' },
    { kind: 'remote-context', argument: 'text', title: 'A remote context' },
  ],
  facts: [
    { name: 'name', type: 'string', operations: ['*'], doc: 'The name in the path.' },
    { name: 'image', type: 'string', operations: ['ContainerCreate'], doc: 'The image.' },
    { name: 'memory', type: 'number', operations: ['ContainerCreate'], doc: 'Bytes.' },
    { name: 'read-only', type: 'boolean', operations: ['ContainerCreate'], doc: 'Read-only root.' },
    { name: 'build.from', type: 'strings', operations: ['ImageBuild'], doc: 'Base images.' },
    { name: 'exec.user', type: 'string', operations: ['ContainerExec'], doc: 'User.' },
  ],
};

export function compile(...documents: object[]): CompiledPolicy {
  const files = documents.map((value, n) => ({ name: `${n}.json`, text: JSON.stringify(value) }));
  const result = compilePolicy(files, WORDS);
  if (!result.ok) throw new Error(result.problems.map((p) => `${p.pointer}: ${p.message}`).join('\n'));
  return result.policy;
}

/** Problems as `pointer: message` lines. */
export function problems(...documents: (object | string)[]): string[] {
  const files = documents.map((value, n) => ({
    name: `${n}.json`,
    text: typeof value === 'string' ? value : JSON.stringify(value),
  }));
  const result = compilePolicy(files, WORDS);
  return result.ok ? [] : result.problems.map((p) => `${p.pointer}: ${p.message}`);
}

export interface Client {
  listener?: string;
  address?: string;
  certificate?: string[];
  tokenSha256?: string;
}

export function call(id: string, client: Client = {}): Call {
  const operation = WORDS.operations.find((one) => one.id === id) ?? { id, sets: [] };
  const full = {
    listener: 'tcp',
    address: '192.0.2.1',
    port: 1,
    certificate: [],
    tokenSha256: '',
    ...client,
  };
  return { id: 'c1', operation, client: full } as unknown as Call;
}

export function hazard(text: string): Hazard {
  const colon = text.indexOf(':');
  return colon < 0
    ? { kind: text, argument: '' }
    : { kind: text.slice(0, colon), argument: text.slice(colon + 1) };
}

export function ask(
  policy: CompiledPolicy,
  id: string,
  facts: Record<string, FactValue> = {},
  hazards: string[] = [],
  client: Client = {},
): Verdict {
  const asked = call(id, client);
  const inspection: Inspection = { facts, hazards: hazards.map(hazard) };
  return decide(policy, asked, sourcesOf(policy, asked.client), inspection);
}

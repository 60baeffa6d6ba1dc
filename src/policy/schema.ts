import type { JsonObject, JsonValue } from '../base/json.js';
import * as z from 'zod';
import { MAX_PATTERN } from '../base/glob.js';
import { quotasSchema } from './quotas-schema.js';
import { redactSchema } from './redact-schema.js';
import { rewriteSchema } from './rewrite-schema.js';
import type { FactWord, Vocabulary } from './vocabulary.js';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const NAME_TEXT =
  'must be 1 to 64 letters, digits, dots, hyphens or underscores, starting with a letter or digit';

const name = z.string().regex(NAME, NAME_TEXT);
const pattern = z.string().min(1).max(MAX_PATTERN);
const description = z.string().max(2000).optional().describe('A note for readers of the policy.');

const certificate = pattern.regex(
  /^(CN|DNS|IP|URI|EMAIL)=./,
  'must begin with CN=, DNS=, IP=, URI= or EMAIL= (upper case), as in "CN=ci-*"',
);
const token = z
  .string()
  .regex(
    /^sha256:[0-9a-fA-F]{64}$/,
    'must be "sha256:" and the 64 hex digits of the token\'s SHA-256 (printf %s TOKEN | sha256sum); the token itself does not belong in a policy',
  );

const source = z
  .strictObject({
    description,
    listener: z.array(pattern).min(1).optional().describe('Names of listeners, globs allowed.'),
    cidr: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .describe('Networks or single addresses: 10.20.0.0/16, 2001:db8::/32, 10.1.2.3.'),
    certificate: z
      .array(certificate)
      .min(1)
      .optional()
      .describe('Globs over the names of a verified client certificate: CN=…, DNS=…, IP=…, URI=…, EMAIL=….'),
    token: z.array(token).min(1).optional().describe('SHA-256 of bearer tokens: sha256:<64 hex digits>.'),
    limits: quotasSchema.optional(),
  })
  .describe(
    'A named set of clients. Every list given must hold; one entry of it is enough. limits: how often they may call.',
  );

const rule = z.strictObject({
  id: name.describe('Unique over all files of the policy; denials and the audit log name it.'),
  description,
  effect: z.enum(['allow', 'deny']).optional().describe('A matching deny rule wins. Default: `"allow"`.'),
  sources: z
    .array(z.string().meta({ id: 'SourceName' }))
    .min(1)
    .describe('Names of sources, of any file of the policy; `"*"` is everyone.'),
  operations: z
    .array(pattern.meta({ id: 'OperationPattern' }))
    .min(1)
    .describe('operationIds, globs over them, or sets such as `@read`.'),
  where: z
    .record(z.string(), z.unknown())
    .meta({ id: 'Where' })
    .optional()
    .describe('Conditions on facts; all of them must hold.'),
  permit: z
    .array(z.string().min(1).max(MAX_PATTERN).meta({ id: 'HazardPattern' }))
    .optional()
    .describe('Hazards that are fine: `kind`, `kind:GLOB`, or `*` for all.'),
  rewrite: rewriteSchema.optional(),
  redact: redactSchema.optional(),
});

/** The shape of one policy file. What its words mean is checked in compile.ts, against the vocabulary. */
export const policyFileSchema = z.strictObject({
  $schema: z.string().optional().describe('Path of `policy.schema.json`, for completion in an editor.'),
  description,
  mode: z
    .enum(['enforce', 'observe'])
    .optional()
    .describe(
      '`observe`: deny rules of this file are on record, not enforced. Where every file of the policy says so, nothing is denied. Default: `"enforce"`.',
    ),
  sources: z.record(name, source).optional().describe('The clients, by name.'),
  rules: z.array(rule).optional().describe('What they may do.'),
});

export type PolicyFileShape = z.output<typeof policyFileSchema>;
export type RuleShape = z.output<typeof rule>;
export type SourceShape = z.output<typeof source>;

/** JSON Schema of one policy file without the vocabulary: used to name valid keys in messages. */
export function plainJsonSchema(): JsonObject {
  return z.toJSONSchema(policyFileSchema, { io: 'input' }) as unknown as JsonObject;
}

const patterns = { type: 'array', minItems: 1, items: { type: 'string' } };
const oneOrMore = { anyOf: [{ type: 'string' }, patterns] };

function matcherSchema(fact: FactWord): JsonObject {
  const note = { description: fact.doc };
  const object = (properties: JsonObject): JsonObject => ({
    type: 'object',
    additionalProperties: false,
    minProperties: 1,
    properties,
  });
  if (fact.type === 'boolean') return { ...note, type: 'boolean' };
  if (fact.type === 'strings') {
    const lists = object({ each: patterns, any: patterns, none: patterns });
    return { ...note, ...(fact.bare === 'each' ? { anyOf: [...oneOrMore.anyOf, lists] } : lists) };
  }
  if (fact.type === 'string') {
    return { ...note, anyOf: [...oneOrMore.anyOf, object({ any: patterns, not: patterns })] };
  }
  const numbers = { type: 'array', minItems: 1, items: { type: 'number' } };
  const range = object({ min: { type: 'number' }, max: { type: 'number' }, not: numbers });
  return { ...note, anyOf: [{ type: 'number' }, numbers, range] };
}

/**
 * The published JSON Schema of a policy file, with every operation, hazard and fact spelled out for completion in
 * editors. It is generated (`npm run schema`), never edited.
 */
export function policyJsonSchema(vocabulary: Vocabulary): JsonObject {
  const schema = plainJsonSchema();
  const sets = [...new Set(vocabulary.operations.flatMap((operation) => operation.sets))].sort();
  const operationWords = [
    '*',
    ...sets.map((set) => `@${set}`),
    ...vocabulary.operations.map((operation) => operation.id),
  ];
  const hazardWords = vocabulary.hazards.map((hazard): JsonValue => {
    const takesArgument = hazard.argument !== 'none';
    const shape: JsonObject = takesArgument ? { pattern: `^${hazard.kind}:.` } : { const: hazard.kind };
    return { ...shape, description: takesArgument ? `${hazard.kind}:GLOB: ${hazard.title}` : hazard.title };
  });
  const definitions = schema['$defs'] as JsonObject;
  definitions['SourceName'] = {
    type: 'string',
    description: 'The name of a source of this policy (in any of its files), or "*" for everyone.',
  };
  definitions['OperationPattern'] = {
    type: 'string',
    description: 'An operationId of the Docker Engine API, a glob over them, or a set: @read, @build ….',
    anyOf: [{ enum: operationWords }, { pattern: '[*?]' }],
  };
  definitions['HazardPattern'] = {
    type: 'string',
    description: 'A hazard this rule permits: kind, kind:GLOB, or "*" for all.',
    anyOf: [{ const: '*', description: 'Every hazard there is.' }, ...hazardWords],
  };
  definitions['Where'] = {
    type: 'object',
    description: 'Conditions on what the call states; all must hold.',
    additionalProperties: false,
    properties: Object.fromEntries(vocabulary.facts.map((fact) => [fact.name, matcherSchema(fact)])),
  };
  return { ...schema, title: 'Breakwater policy file' };
}

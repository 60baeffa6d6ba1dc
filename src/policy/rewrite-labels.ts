import { type JsonValue, asArray, asString } from '../base/json.js';
import type { Operation } from '../docker/operation.js';
import { queryTexts } from '../hazards/call-values.js';
import type { ReportAt } from './compile-rule.js';
import { didYouMean } from '../base/nearest.js';
import { describeValue } from './problems.js';
import {
  fieldOf,
  putEntries,
  putField,
  putQueryEntries,
  type Draft,
  type Step,
  type Variables,
} from './rewrite-draft.js';
import type { RewriteShape } from './rewrite-schema.js';

const VARIABLES = ['source', 'call', 'client'] as const;

/** Compiles `built for ${source}`; reports a name that is not a variable, and a `${` without its end. */
function compileTemplate(text: string, report: (message: string) => void): (variables: Variables) => string {
  const parts = text.split(/\$\{([^}]*)\}/);
  const names: (keyof Variables)[] = [];
  parts.forEach((part, index) => {
    if (index % 2 === 0) {
      if (part.includes('${')) report(`found ${describeValue(text)}: a "\${" has no "}".`);
      return;
    }
    const name = VARIABLES.find((known) => known === part);
    const valid = VARIABLES.map((known) => `\${${known}}`).join(', ');
    if (name === undefined) {
      report(
        `unknown variable ${describeValue(`\${${part}}`)}.${didYouMean(part, VARIABLES)} Valid: ${valid}.`,
      );
    } else names.push(name);
  });
  if (names.length === 0) return () => text;
  return (variables) =>
    parts.map((part, index) => (index % 2 === 0 ? part : variables[part as keyof Variables])).join('');
}

/** `labels`: set, in place of what the client gave under the same name. */
export function prepareLabels(
  labels: NonNullable<RewriteShape['labels']>,
  report: ReportAt,
): (operation: Operation) => Step {
  const templates = Object.entries(labels).map(
    ([key, value]) => [key, compileTemplate(value, (message) => report([key], message))] as const,
  );
  const filled = (variables: Variables): Map<string, JsonValue> =>
    new Map(templates.map(([key, template]) => [key, template(variables)]));
  return ({ does }) =>
    (draft, variables) => {
      const { labelsAt, changes } = does;
      if (labelsAt === 'labels') putQueryEntries(draft, labelsAt, filled(variables));
      else {
        // The engine applies `changes` on top of the body (builder/dockerfile, BuildFromConfig): a LABEL among them
        // would win, and so might a line that only looks like something else.
        if (changes === true && queryTexts(draft.next, 'changes').some((change) => change !== '')) {
          draft.conflict = 'Dockerfile instructions in "changes" could override its labels';
          return;
        }
        putEntries(draft, labelsAt![0]!, filled(variables));
      }
    };
}

/** `proxy`: every variable in both cases, because programs look for either. */
export function prepareProxy(proxy: NonNullable<RewriteShape['proxy']>): (operation: Operation) => Step {
  const given = Object.entries(proxy).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const variables = new Map<string, JsonValue>(
    given.flatMap(([name, value]) => [
      [`${name.toUpperCase()}_PROXY`, value],
      [`${name}_proxy`, value],
    ]),
  );
  return ({ does }) =>
    does.builds !== undefined
      ? (draft) => putQueryEntries(draft, 'buildargs', variables)
      : (draft) => setVariables(draft, variables);
}

function setVariables(draft: Draft, variables: ReadonlyMap<string, JsonValue>): void {
  const others = asArray(fieldOf(draft, 'Env')).filter(
    (entry) => !variables.has(asString(entry).split('=', 1)[0] ?? ''),
  );
  const entries = [...variables].map(([name, value]) => `${name}=${asString(value)}`);
  putField(draft, ['Env'], [...others, ...entries]);
}

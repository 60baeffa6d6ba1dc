import { BOUNDS, type Bound } from './engine-load.js';
import { FACTS, HAZARDS, type FactKind, type HazardKind } from './catalogue.js';

function describeHazard(hazard: HazardKind): string[] {
  const argument = { none: '', text: ':TEXT', path: ':PATH' }[hazard.argument];
  const lines = [`### \`${hazard.kind}${argument}\``, '', `${hazard.title}. ${hazard.lets}`, ''];
  lines.push(`- permit, for example: \`${hazard.permit}\``);
  if (hazard.cis !== undefined) lines.push(`- CIS Docker Benchmark 1.6: ${hazard.cis.replaceAll(' ', ', ')}`);
  if (hazard.attack !== undefined) lines.push(`- MITRE ATT&CK: ${hazard.attack.replaceAll(' ', ', ')}`);
  for (const [one, ids] of Object.entries(hazard.attackBy ?? {}))
    lines.push(`- MITRE ATT&CK of \`${hazard.kind}:${one}\`: ${ids.replaceAll(' ', ', ')}`);
  return [...lines, ''];
}

function describeBound([name, bound]: [string, Bound]): string {
  const { least, most, unit, costs, ordinary } = bound;
  const of = (value: number): string => `${value}${unit === '' ? '' : ` ${unit}`}`;
  const range = [
    ...(least === undefined ? [] : [`at least ${of(least)}`]),
    ...(most === undefined ? [] : [`at most ${of(most)}`]),
  ].join(', ');
  return `- \`${name}\`: ${range}. ${costs} Ordinary: ${ordinary}.`;
}

function describeFact(fact: FactKind): string {
  const where = fact.operations.includes('*') ? 'every operation' : fact.operations.join(', ');
  const type = fact.type === 'strings' ? 'list of strings' : fact.type;
  return `- \`${fact.name}\` (${type}): ${fact.doc} Stated by: ${where}.`;
}

/** The text of docs/reference/hazards.md, from the catalogue alone. Ends with a newline. */
export function hazardsDocument(): string {
  return [
    '# Hazards and facts',
    '',
    'This page is generated from `src/hazards/catalogue.ts` by `npm run docs`; change it there.',
    '',
    '## Hazards',
    '',
    'A hazard is something a call would do that an allow does not imply. A rule lets a call pass only if its',
    '`permit` names every hazard of the call. `TEXT` and `PATH` stand for the argument; in a `permit` it may hold',
    '`*` (any run without `/`), `**` (anything) and `?`. Paths are cleaned first: no `.`, no `..`, no `//`.',
    '',
    ...HAZARDS.flatMap(describeHazard),
    '### Bounds',
    '',
    'Of the hazard `engine-load`: what is within them is none. Ordinary calls do not come near.',
    '',
    ...Object.entries(BOUNDS).map(describeBound),
    '',
    '## Facts',
    '',
    'A fact is something a call states that a rule may constrain with `where`. The operations listed always state',
    'it, with an empty value where the call gives none.',
    '',
    ...FACTS.map(describeFact),
    '',
  ].join('\n');
}

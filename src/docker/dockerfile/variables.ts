import type { Work } from '../../base/work.js';
import { spend } from './ambiguity.js';

interface Setting {
  readonly version: number;
  /** Undefined: an `ARG name` without a value takes an earlier one away. */
  readonly value: string | undefined;
}

/**
 * Variables of one build stage and their history, so that the values at the place of each command can be looked up
 * without a copy of them all.
 */
export interface Variables {
  readonly settings: Map<string, Setting[]>;
  version: number;
}

export function newVariables(): Variables {
  return { settings: new Map(), version: 0 };
}

export function setVariable(variables: Variables, name: string, value: string | undefined): void {
  const version = ++variables.version;
  const history = variables.settings.get(name);
  if (history === undefined) variables.settings.set(name, [{ version, value }]);
  else history.push({ version, value });
}

/** The value that was in force at a version; by default the latest. */
export function getVariable(
  variables: Variables,
  name: string,
  version: number = variables.version,
): string | undefined {
  const history = variables.settings.get(name);
  if (history === undefined) return undefined;
  let low = 0;
  let high = history.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((history[middle]?.version ?? 0) <= version) low = middle + 1;
    else high = middle;
  }
  return history[low - 1]?.value;
}

/** The price of a variable that a stage takes over. */
const VARIABLE_PRICE = 256;

/** The variables of a stage that starts from another stage: the latest values of that stage. */
export function inheritVariables(parent: Variables, work: Work): Variables {
  spend(work, VARIABLE_PRICE * parent.settings.size);
  const child = newVariables();
  for (const [name, history] of parent.settings) {
    const latest = history.at(-1);
    if (latest !== undefined) child.settings.set(name, [{ version: 0, value: latest.value }]);
  }
  return child;
}

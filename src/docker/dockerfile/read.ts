import { UNKNOWN, type Variable } from '../shell-command.js';
import { asciiLower, type Instruction } from './instruction.js';
import type { Base, Command, DockerfileOptions, DockerfileReading, Source, Stage, Step } from './model.js';
import { parseDockerfile } from './parse.js';
import { CALL_WORK, type Work } from '../../base/work.js';
import { spend, trimSpace, AmbiguityError } from './ambiguity.js';
import { getVariable, inheritVariables, newVariables, setVariable, type Variables } from './variables.js';
import { expandWord } from './word.js';

/** A stage while it is read. */
interface Draft extends Stage {
  readonly copies: Base[];
  readonly sources: Source[];
  readonly commands: Command[];
  readonly users: string[];
  readonly triggers: string[];
  readonly onbuild: Instruction[];
  /** ENV, which wins over ARG, and what the base stage leaves. */
  readonly env: Variables;
  readonly args: Variables;
  shell: readonly string[];
}

interface Build {
  readonly options: DockerfileOptions;
  readonly escape: string;
  readonly stages: Draft[];
  readonly names: Map<string, number>;
  /** ARG before the first FROM. */
  readonly meta: Variables;
  readonly work: Work;
  readonly lookupMeta: Variable;
}

/** The price of an instruction, those of triggers each time that they run. */
const STEP_PRICE = 512;
const SHELL = ['/bin/sh', '-c'];

/** builder/dockerfile/buildargs.go: build arguments that need no ARG line. */
const PREDEFINED = new Set(['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY'].flatMap(bothCases));
/** Predefined since engine 23, unknown to 20.10. */
const PREDEFINED_LATER = new Set(bothCases('ALL_PROXY'));

function bothCases(name: string): string[] {
  return [name, name.toLowerCase()];
}

/**
 * Reads a Dockerfile as the daemon's builder does: lines, instructions, stages, ARG and ENV substituted. The own parser
 * is there because the popular ones disagree with the daemon where it matters (`RUN a \\` swallows the next FROM,
 * `${A:+evil}` is the value of A), and because it must be linear.
 *
 * INVARIANT: what two engines (20.10, 26.1 and the newest) would build differently is not clear.
 *
 * @param work pays for it.
 * @returns `{clear: false}` with a reason; never throws.
 */
export function readDockerfile(
  content: Uint8Array,
  options: DockerfileOptions,
  work: Work = { left: CALL_WORK },
): DockerfileReading {
  try {
    const parsed = parseDockerfile(content, options.builder ?? 'classic', work);
    const meta = newVariables();
    const build: Build = {
      options,
      escape: parsed.escape,
      stages: [],
      names: new Map(),
      meta,
      work,
      lookupMeta: (name) => getVariable(meta, name) ?? predefined(options, meta, name),
    };
    const { head, stages } = splitStages(parsed.instructions, options.target);
    const steps: Step[] = [];
    const note = ({ text, line }: Instruction, variable: Variable): void => {
      steps.push({ text, line, variable });
    };
    for (const instruction of head) {
      note(instruction, build.lookupMeta);
      readArg(build, instruction, meta, build.lookupMeta, false);
    }
    for (const [from, ...body] of stages) {
      note(from, build.lookupMeta);
      const stage = beginStage(build, from);
      for (const instruction of body) {
        note(instruction, lookupOf(build, stage));
        readStep(build, stage, instruction);
      }
      if (stage.name !== '') build.names.set(stage.name, build.stages.length);
      build.stages.push(stage);
    }
    const { BUILDKIT_SYNTAX: argument } = options.buildArgs;
    const syntax = [parsed.syntax, argument ?? ''].filter((name) => name !== '');
    return { clear: true, syntax, stages: build.stages, steps };
  } catch (error) {
    if (error instanceof AmbiguityError) return { clear: false, reason: error.message };
    throw error;
  }
}

type StageLines = readonly [Instruction, ...Instruction[]];

/** ARG lines before the first FROM, and the stages up to the target: the daemon does not run those after it. */
function splitStages(
  instructions: readonly Instruction[],
  target: string,
): { head: Instruction[]; stages: StageLines[] } {
  const head: Instruction[] = [];
  const stages: [Instruction, ...Instruction[]][] = [];
  for (const instruction of instructions) {
    const stage = stages.at(-1);
    if (instruction.name === 'from') stages.push([instruction]);
    else if (stage !== undefined) stage.push(instruction);
    else if (instruction.name === 'arg') head.push(instruction);
    else
      throw new AmbiguityError(
        `line ${instruction.line}: ${instruction.name.toUpperCase()} before the first FROM`,
      );
  }
  if (stages.length === 0) throw new AmbiguityError('it has no FROM');
  const names = stages.map(([from]) => stageName(from));
  const repeated = names.find((name, index) => name !== '' && names.indexOf(name) !== index);
  if (repeated !== undefined) throw new AmbiguityError(`two stages are named ${repeated}`);
  if (target === '') return { head, stages };
  const wanted = asciiLower(target);
  const index = wanted === undefined ? -1 : names.indexOf(wanted);
  if (index < 0) throw new AmbiguityError('the target is not the name of a stage');
  return { head, stages: stages.slice(0, index + 1) };
}

function stageName({ args, line }: Instruction): string {
  if (args.length === 1) return '';
  // Both words must be ASCII: for Go `ſ` is an s, and the Kelvin sign a k.
  const as = asciiLower(args[1] ?? '');
  const name = asciiLower(args[2] ?? '');
  if (as !== 'as' || name === undefined || !/^[a-z][a-z0-9_.-]*$/.test(name)) {
    throw new AmbiguityError(`line ${line}: FROM needs an image, or an image, AS and a name`);
  }
  // Engines differ in whether `FROM scratch` then is this stage.
  if (name === 'scratch') throw new AmbiguityError(`line ${line}: a stage is named scratch`);
  return name;
}

function beginStage(build: Build, from: Instruction): Draft {
  const name = stageName(from);
  const image = expand(build, from.args[0] ?? '', build.lookupMeta, false, from.line);
  if (image.includes(UNKNOWN))
    throw new AmbiguityError(`line ${from.line}: FROM uses a variable that is not set`);
  const lower = asciiLower(image);
  if (image === '' || lower === undefined) throw new AmbiguityError(`line ${from.line}: FROM names no image`);
  const index = build.names.get(lower);
  const base = index === undefined ? undefined : build.stages[index];
  const platform = from.flags.find((flag) => flag.name === 'platform')?.value;
  const env = base === undefined ? newVariables() : inheritVariables(base.env, build.work);
  const args = newVariables();
  const stage: Draft = {
    name,
    base: index === undefined ? { kind: 'image', image } : { kind: 'stage', index },
    platform:
      platform === undefined
        ? build.options.platform
        : expand(build, platform, build.lookupMeta, false, from.line),
    copies: [],
    sources: [],
    commands: [],
    users: [],
    triggers: [],
    onbuild: [],
    env,
    args,
    variable: (variable) =>
      getVariable(env, variable) ??
      getVariable(args, variable) ??
      predefined(build.options, build.meta, variable),
    shell: base === undefined ? SHELL : base.shell,
  };
  // Triggers of a stage run in every stage that is built on it.
  for (const trigger of base?.onbuild ?? []) readStep(build, stage, trigger);
  return stage;
}

/** The value of a proxy argument without an ARG line: the call's, else that of an ARG before the first FROM. */
function predefined({ buildArgs }: DockerfileOptions, meta: Variables, name: string): string | undefined {
  const later = PREDEFINED_LATER.has(name);
  if (!later && !PREDEFINED.has(name)) return undefined;
  const value = (Object.hasOwn(buildArgs, name) ? buildArgs[name] : undefined) ?? getVariable(meta, name);
  return later && value !== undefined ? UNKNOWN : value;
}

function expand(build: Build, text: string, lookup: Variable, open: boolean, line: number): string {
  try {
    return expandWord(text, { escape: build.escape, lookup, open, work: build.work });
  } catch (error) {
    if (error instanceof AmbiguityError) throw new AmbiguityError(`line ${line}: ${error.message}`);
    throw error;
  }
}

/** `ARG a b=c`: the call's value, else the default, else that of an ARG before the first FROM. */
function readArg(
  build: Build,
  { args, line }: Instruction,
  into: Variables,
  lookup: Variable,
  open: boolean,
): void {
  const { buildArgs } = build.options;
  const read = args.map((arg) => {
    const equals = arg.indexOf('=');
    if (equals === 0) throw new AmbiguityError(`line ${line}: ARG without a name`);
    const name = expand(build, equals < 0 ? arg : arg.slice(0, equals), lookup, open, line);
    return [name, equals < 0 ? undefined : expand(build, arg.slice(equals + 1), lookup, open, line)] as const;
  });
  for (const [name, value] of read) {
    const given = Object.hasOwn(buildArgs, name) ? buildArgs[name] : undefined;
    setVariable(
      into,
      name,
      given ?? value ?? (into === build.meta ? undefined : getVariable(build.meta, name)),
    );
  }
}

function lookupOf(build: Build, { env, args }: Draft): Variable {
  const envVersion = env.version;
  const argsVersion = args.version;
  return (name) =>
    getVariable(env, name, envVersion) ??
    getVariable(args, name, argsVersion) ??
    predefined(build.options, build.meta, name);
}

function readStep(build: Build, stage: Draft, instruction: Instruction): void {
  const { name, args, line } = instruction;
  // A thousand triggers in a thousand stages are a million steps.
  spend(build.work, STEP_PRICE + instruction.text.length);
  const lookup = lookupOf(build, stage);
  const expanded = (text: string): string => expand(build, text, lookup, true, line);
  switch (name) {
    case 'arg':
      readArg(build, instruction, stage.args, lookup, true);
      return;
    case 'env': {
      // All values see the variables as they were before this line.
      const words = args.map(expanded);
      for (let at = 0; at < words.length; at += 2) {
        // As the engine stores it, `name=value`: a name that holds `=` after substitution is cut at the first one.
        const pair = `${words[at] ?? ''}=${words[at + 1] ?? ''}`;
        const equals = pair.indexOf('=');
        setVariable(stage.env, pair.slice(0, equals), pair.slice(equals + 1));
      }
      return;
    }
    case 'add':
    case 'copy':
      readSources(build, stage, instruction, name, expanded);
      return;
    case 'run':
    case 'cmd':
    case 'entrypoint':
      readCommand(build, stage, instruction, name, args, lookup);
      return;
    case 'healthcheck':
      if (args[0] === 'CMD') readCommand(build, stage, instruction, name, args.slice(1), lookup);
      return;
    case 'shell':
      if (!instruction.json) throw new AmbiguityError(`line ${line}: SHELL must be a JSON array`);
      stage.shell = args;
      return;
    case 'user':
      stage.users.push(expanded(args[0] ?? ''));
      return;
    case 'onbuild':
      readTrigger(build, stage, instruction);
      return;
    default:
      // EXPOSE, LABEL, MAINTAINER, STOPSIGNAL, VOLUME, WORKDIR: they fetch and run nothing.
      return;
  }
}

function readTrigger(build: Build, stage: Draft, { trigger, text, line }: Instruction): void {
  if (trigger === undefined) return;
  // The trigger is parsed again later, without the directive.
  if (build.escape !== '\\')
    throw new AmbiguityError(`line ${line}: ONBUILD together with an escape directive`);
  stage.triggers.push(trimSpace(text.slice('ONBUILD'.length)));
  stage.onbuild.push(trigger);
  // It runs with the variables of another build: it is judged with those of this one, and must not change them.
  if (trigger.name !== 'arg' && trigger.name !== 'env' && trigger.name !== 'shell') {
    readStep(build, stage, trigger);
  }
}

function readSources(
  build: Build,
  stage: Draft,
  { args, flags, line }: Instruction,
  instruction: 'add' | 'copy',
  expanded: (text: string) => string,
): void {
  const from = flags.find((flag) => flag.name === 'from')?.value;
  if (from !== undefined && from !== '') stage.copies.push(findCopyBase(build, from));
  for (const written of args.slice(0, -1)) {
    stage.sources.push({ instruction, text: expanded(written), written, line });
  }
}

/** An earlier stage by name or number, else an image. The engine substitutes no variables here. */
function findCopyBase(build: Build, from: string): Base {
  const index = build.names.get(asciiLower(from) ?? '');
  if (index !== undefined) return { kind: 'stage', index };
  const number = /^[+-]?[0-9]{1,9}$/.test(from) ? Number(from) : -1;
  return number >= 0 && number < build.stages.length
    ? { kind: 'stage', index: number }
    : { kind: 'image', image: from };
}

function readCommand(
  build: Build,
  stage: Draft,
  { flags, json, heredocs, line }: Instruction,
  instruction: Command['instruction'],
  args: readonly string[],
  variable: Variable,
): void {
  stage.commands.push({
    instruction,
    args,
    form: json ? 'exec' : 'shell',
    shell: stage.shell,
    heredocs,
    flags: flags.map(({ name, value }) => ({ name, value: value ?? '' })),
    variable,
    line,
  });
  for (const { name, value = '' } of flags) {
    if (name !== 'mount') continue;
    // A CSV record of key=value. BuildKit substitutes variables in `from`.
    for (const field of value.replaceAll('"', '').split(',')) {
      const equals = field.indexOf('=');
      if (equals < 0 || field.slice(0, equals).toLowerCase() !== 'from') continue;
      const from = expand(build, field.slice(equals + 1), variable, true, line);
      if (from !== '') stage.copies.push(findCopyBase(build, from));
    }
  }
}

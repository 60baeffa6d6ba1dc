import type { Variable } from '../shell-command.js';
import type { Builder } from './parse.js';

export interface DockerfileOptions {
  /** The `buildargs` of the call; null for an argument that is mentioned without a value. */
  readonly buildArgs: Readonly<Record<string, string | null>>;
  /** Stage to stop at; `""` for the last. */
  readonly target: string;
  /** The requested platform, `""` for the daemon's own. */
  readonly platform: string;
  /** Default `classic`. */
  readonly builder?: Builder;
}

/** What a stage or a file is taken from: an image as written after substitution, or an earlier stage. */
export type Base =
  { readonly kind: 'image'; readonly image: string } | { readonly kind: 'stage'; readonly index: number };

/** One source of ADD or COPY. */
export interface Source {
  readonly instruction: 'add' | 'copy';
  /** After substitution; UNKNOWN stands for parts that depend on the base image's ENV. */
  readonly text: string;
  readonly written: string;
  readonly line: number;
}

/** Text that a shell or the kernel runs, now (RUN) or when a container of the image runs. */
export interface Command {
  readonly instruction: 'run' | 'cmd' | 'entrypoint' | 'healthcheck';
  /** Exec form: the arguments. Shell form: the text, alone. */
  readonly args: readonly string[];
  readonly form: 'exec' | 'shell';
  /** What the shell form is given to, by SHELL. */
  readonly shell: readonly string[];
  /** Contents of heredocs (BuildKit). */
  readonly heredocs: readonly string[];
  /** Values of `--mount`, `--network`, `--security`, `--device`, and of a health check's times, as written. */
  readonly flags: readonly { readonly name: string; readonly value: string }[];
  /** The environment the command gets, as far as it is known. */
  readonly variable: Variable;
  readonly line: number;
}

export interface Stage {
  /** Lower case, `""` for none. */
  readonly name: string;
  readonly base: Base;
  readonly platform: string;
  /** Where COPY --from and RUN --mount=from= take files from. */
  readonly copies: readonly Base[];
  readonly sources: readonly Source[];
  readonly commands: readonly Command[];
  /** Users of USER, after substitution. */
  readonly users: readonly string[];
  /** Variables at its end; UNKNOWN in values that the base image has a part in. */
  readonly variable: Variable;
  /** ONBUILD triggers, as written. Their content is in the fields above as well. */
  readonly triggers: readonly string[];
}

/** One instruction as it stands in the file. */
export interface Step {
  /** Continuations joined, as the daemon prints it. */
  readonly text: string;
  readonly line: number;
  /** Variables at its place. */
  readonly variable: Variable;
}

/** What a Dockerfile does; only of the stages that are built. */
export type DockerfileReading =
  | {
      readonly clear: true;
      /** Frontends named by `# syntax=` and by the build argument BUILDKIT_SYNTAX, as written. */
      readonly syntax: readonly string[];
      readonly stages: readonly Stage[];
      /** The instructions up to the target. */
      readonly steps: readonly Step[];
    }
  | { readonly clear: false; readonly reason: string };

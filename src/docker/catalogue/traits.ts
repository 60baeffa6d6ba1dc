/**
 * Kinds of objects that an engine keeps and calls name. `tag`: the name that an image gets. `repository`: all images of
 * a name, with any tag.
 */
export type ObjectKind =
  | 'container'
  | 'exec'
  | 'image'
  | 'tag'
  | 'repository'
  | 'volume'
  | 'network'
  | 'service'
  | 'task'
  | 'secret'
  | 'config';

/** A parameter of the path or query, or the keys that lead to a field of the body. */
export interface Place {
  readonly in: 'path' | 'query' | 'body';
  readonly steps: readonly string[];
}

/** A place where the name or id of one object stands that the engine has. */
export interface NameAt extends Place {
  readonly kind: ObjectKind;
  /** The object, or what its name stands for, is another one afterwards. */
  readonly changes?: true;
  /** Images: a name without a tag stands for all tags; only the name says which, an id does not. */
  readonly everyTag?: true;
  /** Networks: it may be a predefined one, such as `bridge`. */
  readonly predefined?: true;
}

/** How the bytes of an answer name what was made. */
export interface AnswerId {
  readonly kind: 'container' | 'image';
  /** Global. Its first group is an id (hex digits), its second, where there is one, the name of an image. */
  readonly pattern: RegExp;
  /** Only in answers of these API versions (minor numbers, inclusive). */
  readonly since?: number;
  readonly until?: number;
}

/** What an answer may hold that not every caller should see. */
export type Sensitive = 'env' | 'paths' | 'labels' | 'secrets' | 'commands';

export interface Answer {
  readonly holds: readonly Sensitive[];
  /**
   * `documents`: JSON in which keys mean the same at any depth. `content`: empty, or bytes of a container; only errors
   * and headers hold something. The others are JSON in which some keys have a meaning of their own.
   */
  readonly as:
    | 'documents'
    | 'content'
    | 'container'
    | 'processes'
    | 'attestations'
    | 'info'
    | 'events'
    | 'usage'
    | 'volume'
    | 'privileges';
}

/**
 * What an operation does to the engine, as far as other rooms have to know. What holds for no other room stays out.
 * Paths of body fields are written as the schema of the body spells them.
 */
export interface Traits {
  /**
   * What it has to do with the objects of the engine. `named`: it concerns those that the call names, if any.
   * `filtered`: it shows or removes all that a filter for labels leaves (lists, prunes, events). `images`: it shows all
   * images, and pulled ones have no label to filter by. `engine`: it concerns what all callers have in common.
   */
  readonly about: 'named' | 'filtered' | 'images' | { readonly engine: string };
  /** Where it names objects, besides what `runs`, `builds`, `pulls` and `tags` imply. */
  readonly namesAt?: readonly NameAt[];

  /** Leaves something new with the engine. */
  readonly creates?:
    | 'container'
    | 'exec'
    | 'checkpoint'
    | 'image'
    | 'volume'
    | 'network'
    | 'service'
    | 'secret'
    | 'config'
    | 'plugin';
  /** Where the new object, or the one that is renamed, gets its name. */
  readonly newNameAt?: Place;
  readonly renames?: 'container';
  readonly updates?: 'container' | 'volume' | 'service' | 'secret' | 'config';
  readonly removes?: ObjectKind | 'plugin' | 'node' | 'checkpoint';

  /** Its body says how containers are to run: as Config and HostConfig, or as the TaskTemplate of a service. */
  readonly runs?: 'container' | 'service';
  /** The field of the body with the image that is to run. */
  readonly runsImageAt?: readonly string[];
  /** The first process of a container that exists begins. A restart starts what was only created, too. */
  readonly starts?: 'container';
  /** Brings commands into a container that runs: always, or only when the caller sends input. */
  readonly enters?: 'always' | 'with-input';
  /** A container joins or leaves a network. */
  readonly joins?: 'network';
  readonly leaves?: 'network';
  /** It handles checkpoints of a container. */
  readonly checkpoints?: true;
  /** The path in a container's file system that is read or written. */
  readonly filesAt?: Place;

  /** It starts a build: with the Dockerfile in this call, or in messages that follow on the connection. */
  readonly builds?: 'dockerfile' | 'buildkit';
  /** Images come into being that are in no registry. */
  readonly makesImages?: 'build' | 'commit' | 'import' | 'load';
  /** Fetched from a registry; for images, where the query has `fromImage`. */
  readonly pulls?: 'image' | 'plugin';
  readonly pushes?: 'image' | 'plugin';
  /** The daemon queries a registry of the caller's choice, and fetches nothing. */
  readonly looksUp?: 'image' | 'images' | 'plugin' | 'login';
  /** Names that an image gets: each `t` of the query is one, or `repo` and `tag` together are. */
  readonly tags?: 't' | 'repo';
  /** An image that is there gets one more name. */
  readonly retags?: true;
  /** `changes` of the query has Dockerfile instructions that count more than the body. */
  readonly changes?: true;
  /** Changes the cluster, or hands out its key; the name is the argument of the hazard `swarm`. */
  readonly swarmAction?: string;
  /** Bytes on its connection that are not read; the name is the argument of the hazard `opaque`. */
  readonly opaque?: 'grpc' | 'session';

  /**
   * Where what it makes gets labels: maps of the body, the first of them the object's own, or a parameter of the query.
   */
  readonly labelsAt?: readonly (readonly string[])[] | 'labels';
  /** What is made has the labels of its image, or of its container, unless the call says otherwise. */
  readonly inheritsLabels?: true;
  /** A flag by which the engine refuses a second object of the same name. */
  readonly uniqueNameAt?: readonly string[];
  /** Where upper bounds for memory, CPUs and processes stand: below these keys of the body, or in the query. */
  readonly limitedAt?: readonly string[] | 'query';
  /** The field of the body with the user that a command runs as. */
  readonly userAt?: readonly string[];

  /** Tells a caller that looks around what the engine is, or which containers it has. */
  readonly discovers?: 'engine' | 'containers';
  /** The protocol to upgrade to; `tcp` for the other operations that hijack. dockerd accepts only this. */
  readonly upgrade?: 'websocket' | 'h2c';
  /** How its answer names what was made. */
  readonly answerIds?: readonly AnswerId[];
  /** The flag of the query that, when it is off, makes the answer of a stream a single document. */
  readonly endsWithout?: string;
  /** The engine answers it without any work: nothing is saved by asking once for several callers. */
  readonly costsNothing?: true;
  /** What of its answer can be redacted; operations without it answer with nothing of that kind, or with content. */
  readonly answer?: Answer;
}

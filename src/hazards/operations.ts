import type { Operation } from '../docker/operation.js';

/**
 * The operations of one inspector, which have the same facts, by their traits in the catalogue: a new
 * operation belongs to them by what its row says.
 */
export type Group = (operation: Operation) => boolean;

/** In any of these groups. */
export const any =
  (...groups: readonly Group[]): Group =>
  (operation) =>
    groups.some((group) => group(operation));

export const runsContainer: Group = ({ does }) => does.runs === 'container';
export const runsService: Group = ({ does }) => does.runs === 'service';
export const runs: Group = ({ does }) => does.runs !== undefined;
export const updatesContainer: Group = ({ does }) => does.updates === 'container';
export const renamesContainer: Group = ({ does }) => does.renames === 'container';
export const startsContainer: Group = ({ does }) => does.starts === 'container';
export const attaches: Group = ({ does }) => does.enters === 'with-input';
export const createsExec: Group = ({ does }) => does.creates === 'exec';
export const takesFiles: Group = ({ does }) => does.filesAt !== undefined;
export const handlesCheckpoints: Group = ({ does }) => does.checkpoints === true;
export const listsProcesses: Group = ({ query }) => query['ps_args'] !== undefined;
export const sendsSignal: Group = ({ query }) => query['signal'] !== undefined;

export const builds: Group = ({ does }) => does.builds === 'dockerfile';
export const isOpaque: Group = ({ does }) => does.opaque !== undefined;
export const pullsImage: Group = ({ does }) => does.pulls === 'image';
export const loadsImages: Group = ({ does }) => does.makesImages === 'load';
export const commits: Group = ({ does }) => does.makesImages === 'commit';
export const retags: Group = ({ does }) => does.retags === true;
export const pushesImage: Group = ({ does }) => does.pushes === 'image';
/** One image that the engine has, in the path; a push is about a name instead. */
export const namesImage: Group = ({ does }) =>
  does.pushes !== 'image' &&
  does.namesAt?.some(({ kind, in: part }) => kind === 'image' && part === 'path') === true;
export const namesImages: Group = ({ does }) =>
  does.namesAt?.some(({ kind, in: part }) => kind === 'image' && part === 'query') === true;

/** The daemon queries a registry. */
export const looksUpImage: Group = ({ does }) => does.looksUp === 'image';
export const searchesImages: Group = ({ does }) => does.looksUp === 'images';
export const logsIn: Group = ({ does }) => does.looksUp === 'login';
export const looksUpPlugin: Group = ({ does }) => does.looksUp === 'plugin';
export const pullsPlugin: Group = ({ does }) => does.pulls === 'plugin';
export const changesPlugins: Group = ({ does, writes }) =>
  typeof does.about === 'object' && does.about.engine === 'plugin' && writes;

export const createsVolume: Group = ({ does }) => does.creates === 'volume';
export const updatesVolume: Group = ({ does }) => does.updates === 'volume';
export const createsNetwork: Group = ({ does }) => does.creates === 'network';
export const joinsNetwork: Group = ({ does }) => does.joins === 'network';
export const leavesNetwork: Group = ({ does }) => does.leaves === 'network';

export const actsOnSwarm: Group = ({ does }) => does.swarmAction !== undefined;
export const definesSecret: Group = ({ does }) => does.creates === 'secret' || does.updates === 'secret';
export const definesConfig: Group = ({ does }) => does.creates === 'config' || does.updates === 'config';

/** Removes one object, even while it is in use when `force` says so. */
export const removesByForce: Group = ({ does, query }) =>
  does.about === 'named' && does.removes !== undefined && query['force'] !== undefined;

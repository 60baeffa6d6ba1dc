import type { CONTAINERS } from './catalogue/containers.js';
import type { IMAGES } from './catalogue/images.js';
import type { Row } from './catalogue/row.js';
import type { SWARM } from './catalogue/swarm.js';
import type { SYSTEM } from './catalogue/system.js';

/** The operationIds of the catalogue: a misspelt one does not compile. */
export type OperationId = (typeof CONTAINERS | typeof IMAGES | typeof SYSTEM | typeof SWARM)[number]['id'];

/** One entry of the catalogue. */
export type Operation = Row<OperationId>;

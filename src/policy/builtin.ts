import { OPERATIONS } from '../docker/catalogue.js';
import { FACTS, HAZARDS } from '../hazards/catalogue.js';
import type { Vocabulary } from './vocabulary.js';

/** The words of this version of Breakwater. */
export const VOCABULARY: Vocabulary = { operations: OPERATIONS, hazards: HAZARDS, facts: FACTS };

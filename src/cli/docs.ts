import { writeFileSync } from 'node:fs';
import { hazardsDocument } from '../hazards/document.js';

// `npm run docs`: writes the generated pages into docs/ of the checkout it is started in.
writeFileSync('docs/hazards.md', hazardsDocument());

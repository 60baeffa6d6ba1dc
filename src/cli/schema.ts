import { writeFileSync } from 'node:fs';
import { configJsonSchema } from '../config/config.js';
import type { JsonObject } from '../base/json.js';
import { VOCABULARY } from '../policy/vocabulary.js';
import { policyJsonSchema } from '../policy/schema.js';

// For developers (`npm run schema`): writes the published JSON Schemas anew. A test holds them fresh.
const write = (name: string, schema: JsonObject): void =>
  writeFileSync(
    new URL(`../../../policies/${name}`, import.meta.url),
    `${JSON.stringify(schema, null, 2)}\n`,
  );

write('policy.schema.json', policyJsonSchema(VOCABULARY));
write('config.schema.json', configJsonSchema());

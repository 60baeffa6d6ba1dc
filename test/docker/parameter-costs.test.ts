import t from 'tap';
import { OPERATIONS } from '../../src/docker/catalogue.js';
import { PARAMETER_COSTS } from '../../src/docker/catalogue/parameter-costs.js';
import { HAZARD_KINDS } from '../../src/hazards/catalogue.js';

void t.test('every parameter that is more than on or off says what it costs the engine', (t) => {
  const names = new Set(
    OPERATIONS.flatMap(({ query }) =>
      Object.entries(query)
        .filter(([, { type }]) => type !== 'boolean')
        .map(([name]) => name),
    ),
  );
  t.same([...names].sort(), Object.keys(PARAMETER_COSTS).sort());
  for (const [name, cost] of Object.entries(PARAMETER_COSTS)) {
    t.match(cost, /^[A-Z].*\.$/, `${name}: a sentence`);
    if (!cost.startsWith('The hazard')) continue;
    for (const [, kind = ''] of cost.matchAll(/`([a-z-]+)[:`]/g))
      t.ok(HAZARD_KINDS.has(kind), `${name}: ${kind} is a hazard`);
  }
  t.end();
});

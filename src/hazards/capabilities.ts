import { addToFact, addHazard } from './findings.js';
import { eachString, type FieldInspector } from './field-inspectors.js';

/** Upper case, without `CAP_`, as NormalizeLegacyCapabilities of moby's oci/caps reads it. */
function normalise(name: string): string {
  const upper = name.toUpperCase();
  return upper.startsWith('CAP_') ? upper.slice(4) : upper;
}

export const addedCapabilities: FieldInspector = eachString((name, found) => {
  addHazard(found, 'capability', normalise(name));
  addToFact(found, 'capabilities.add', normalise(name));
});

export const droppedCapabilities: FieldInspector = eachString((name, found) => {
  addToFact(found, 'capabilities.drop', normalise(name));
});

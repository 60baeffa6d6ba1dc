import { addToFact, addHazard } from './findings.js';
import { eachString, type FieldInspector } from './field-inspectors.js';

/** Upper case, without `CAP_`, as NormalizeLegacyCapabilities of moby's oci/caps reads it. */
function normalise(name: string): string {
  const upper = name.toUpperCase();
  return upper.startsWith('CAP_') ? upper.slice(4) : upper;
}

export const addedCapabilities: FieldInspector = eachString((name, findings) => {
  addHazard(findings, 'capability', normalise(name));
  addToFact(findings, 'capabilities.add', normalise(name));
});

export const droppedCapabilities: FieldInspector = eachString((name, findings) => {
  addToFact(findings, 'capabilities.drop', normalise(name));
});

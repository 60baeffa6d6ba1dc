import { append, raise } from './findings.js';
import { eachString, type Judge } from './judge.js';

/** Upper case, without `CAP_`, as NormalizeLegacyCapabilities of moby's oci/caps reads it. */
function normalise(name: string): string {
  const upper = name.toUpperCase();
  return upper.startsWith('CAP_') ? upper.slice(4) : upper;
}

export const addedCapabilities: Judge = eachString((name, found) => {
  raise(found, 'capability', normalise(name));
  append(found, 'capabilities.add', normalise(name));
});

export const droppedCapabilities: Judge = eachString((name, found) => {
  append(found, 'capabilities.drop', normalise(name));
});

import { createHash } from 'node:crypto';
import t from 'tap';
import { hashKey } from '../../src/intel/index-layout.js';
import { hashText } from '../../src/intel/text-table.js';
import { indexOf } from '../support/indicators.js';

// The seed of the indexes that tests build, see `indexOf`.
const KEY = hashKey([1, 2]);

/** Pairs of domains with the same 32 bits of fingerprint: by chance the first among some 80,000 unrelated names. */
function colliding(): readonly (readonly [string, string])[] {
  const seen = new Map<number, string>();
  const pairs: [string, string][] = [];
  for (let n = 0; n < 300_000; n++) {
    const name = `${createHash('sha256').update(String(n)).digest('hex').slice(0, 16)}.example`;
    const [, tag] = hashText(KEY, name);
    const other = seen.get(tag);
    if (other === undefined) seen.set(tag, name);
    else pairs.push([other, name]);
  }
  return pairs;
}

void t.test('INVARIANT: a fingerprint alone finds nothing; the text itself is compared', (t) => {
  const pairs = colliding();
  t.ok(pairs.length >= 4, `${pairs.length} pairs of names with one fingerprint`);
  for (const [listed, other] of pairs) {
    const index = indexOf([['domain', listed]]);
    t.equal(index.domain(listed)?.feed, 'c2', listed);
    t.equal(index.domain(other), undefined, `${other}: another name with its fingerprint`);
    t.equal(index.domain(`www.${listed}`)?.indicator, listed, 'below it');
  }
  t.end();
});

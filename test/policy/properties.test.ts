import fc from 'fast-check';
import IPCIDR from 'ip-cidr';
import t from 'tap';
import { parseAddress } from '../../src/base/address.js';
import { indexNetworks, type Network } from '../../src/base/network.js';
import { parseNetwork } from '../../src/policy/cidr.js';
import { compileGlob } from '../../src/base/glob.js';
import { ask, compile } from './words.js';

/** The meaning of a glob, written down as plainly as possible; exponential, for short inputs only. */
function oracle(pattern: string, subject: string): boolean {
  if (pattern === '') return subject === '';
  if (pattern.startsWith('**')) {
    const rest = pattern.replace(/^\*\*+/, '');
    return Array.from({ length: subject.length + 1 }, (_, n) => subject.slice(n)).some((tail) =>
      oracle(rest, tail),
    );
  }
  const [head, rest] = [pattern[0]!, pattern.slice(1)];
  if (head === '*')
    return (
      oracle(rest, subject) || (subject !== '' && subject[0] !== '/' && oracle(pattern, subject.slice(1)))
    );
  if (subject === '') return false;
  return (head === '?' ? subject[0] !== '/' : subject[0] === head) && oracle(rest, subject.slice(1));
}

t.test('glob: agrees with the plain meaning', async (t) => {
  const word = (characters: string, max: number) =>
    fc.array(fc.constantFrom(...characters.split('')), { maxLength: max }).map((list) => list.join(''));
  fc.assert(
    fc.property(word('ab/?**', 9), word('ab/', 10), (pattern, subject) => {
      return compileGlob(pattern)(subject) === oracle(pattern, subject);
    }),
    { numRuns: 20_000 },
  );
  const yes = [
    ['a/**', 'a/'],
    ['**/x', '/x'],
    ['***', 'a/b'],
    ['', ''],
    ['a.c', 'a.c'],
    ['[a]', '[a]'],
    ['a|b', 'a|b'],
  ];
  const no = [
    ['a*', 'a/b'],
    ['a.c', 'abc'],
    ['[a]', 'a'],
    ['a|b', 'a'],
    ['A', 'a'],
    ['a', 'a\n'],
    ['a?c', 'a/c'],
  ];
  for (const [pattern, subject] of yes)
    t.ok(compileGlob(pattern!)(subject!), `${pattern} matches ${subject}`);
  for (const [pattern, subject] of no)
    t.notOk(compileGlob(pattern!)(subject!), `${pattern} does not match ${subject}`);
});

t.test('glob: no input makes it slow', async (t) => {
  for (const pattern of ['**a'.repeat(20) + 'b', '*a'.repeat(20) + 'b', '?**'.repeat(20) + 'b']) {
    const started = performance.now();
    t.notOk(compileGlob(pattern)('a'.repeat(60_000)));
    t.ok(performance.now() - started < 1_000, pattern);
  }
});

t.test('cidr: agrees with ip-cidr, and the index with a loop over all networks', async (t) => {
  const v4 = fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })).map(([ip, bits]) => `${ip}/${bits}`);
  const v6 = fc
    .tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 }))
    .filter(([ip]) => !/ffff/i.test(ip) && !ip.includes('.'))
    .map(([ip, bits]) => `${ip}/${bits}`);
  const address = fc.oneof(
    fc.ipV4(),
    fc.ipV6().filter((ip) => !/ffff/i.test(ip) && !ip.includes('.')),
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(v4, v6), { maxLength: 12 }), address, (texts, ip) => {
      const networks = texts.map((text): [Network, string] => {
        const network = parseNetwork(text);
        if (network === undefined) throw new Error(`refused ${text}`);
        return [network, text];
      });
      const family = ip.includes(':');
      const expected = texts.filter((text) => text.includes(':') === family && new IPCIDR(text).contains(ip));
      return indexNetworks(networks).find(ip).sort().join() === expected.sort().join();
    }),
    { numRuns: 2_000 },
  );
  for (const text of [
    '10.1',
    '0x0a.0.0.1',
    '010.0.0.1',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '1.2.3.4/8/8',
    '::1::',
    ':::',
    '1:2:3:4:5:6:7:8:9',
    'fe80::1%eth0/64',
    '',
    '/8',
    ' 10.0.0.1',
    '10.0.0.0/',
    '::ffff:1.2.3.4.5',
    'localhost',
  ]) {
    t.equal(parseNetwork(text), undefined, JSON.stringify(text));
  }
  t.same(parseNetwork('::ffff:10.1.2.3/104'), { family: 4, value: 0x0a000000, bits: 8 });
  t.same(parseNetwork('10.1.2.3/8'), { family: 4, value: 0x0a000000, bits: 8 }, 'host bits are cleared');
  t.same(parseAddress('::ffff:a01:203'), { family: 4, value: 0x0a010203 });
  t.same(parseNetwork('::/0')?.family, 6);
});

// ---- the policy as a whole

const operation = fc.constantFrom('SystemPing', 'ContainerCreate', 'ImageBuild');
const hazardText = fc.constantFrom('privileged', 'bind:/a', 'bind:/a/b', 'bind:/b', 'remote-context:x');
const permitText = fc.constantFrom('privileged', 'bind:/a', 'bind:/a/**', 'bind:**', 'remote-context:*', '*');
const source = fc.constantFrom('*', 'one', 'two');
const list = <T>(item: fc.Arbitrary<T>) => fc.uniqueArray(item, { minLength: 1, maxLength: 2 });
const where = fc.constantFrom({}, { name: 'n*' }, { name: { not: ['n2'] } });
const allowRule = fc.record({
  sources: list(source),
  operations: list(operation),
  where,
  permit: fc.uniqueArray(permitText, { maxLength: 2 }),
});
const denyRule = fc.record({
  effect: fc.constant('deny'),
  sources: list(source),
  operations: list(operation),
  where,
});
const rules = fc.array(fc.oneof(allowRule, denyRule), { maxLength: 5 });
const asked = fc.record({
  id: operation,
  facts: fc.constantFrom({}, { name: 'n1' }, { name: 'n2' }, { name: 'x' }),
  hazards: fc.uniqueArray(hazardText, { maxLength: 3 }),
  client: fc.constantFrom({ listener: 'one' }, { listener: 'two' }, { listener: 'else' }),
});
type Rule = { permit?: string[]; effect?: string };
const SOURCES = { one: { listener: ['one'] }, two: { listener: ['two'] } };
const policyOf = (list: Rule[]) =>
  compile({ sources: SOURCES, rules: list.map((rule, n) => ({ id: `r${n}`, ...rule })) });
const effect = (
  list: Rule[],
  q: { id: string; facts: Record<string, string>; hazards: string[]; client: object },
): string => ask(policyOf(list), q.id, q.facts, q.hazards, q.client).effect;

t.test('adding a permit never turns an allow into a denial', async () => {
  fc.assert(
    fc.property(rules, asked, fc.nat(), permitText, (list: Rule[], q, at, extra) => {
      const more = list.map((rule, n) =>
        n === at % list.length && rule.effect !== 'deny'
          ? { ...rule, permit: [...(rule.permit ?? []), extra] }
          : rule,
      );
      return effect(list, q) === 'deny' || effect(more, q) === 'allow';
    }),
    { numRuns: 1_500 },
  );
});

t.test(
  'adding a deny rule never turns a denial into an allow; adding an allow rule never the reverse',
  async () => {
    fc.assert(
      fc.property(rules, asked, denyRule, allowRule, fc.nat(5), (list: Rule[], q, no, yes, at) => {
        const before = effect(list, q);
        const denied = effect(list.toSpliced(at, 0, no), q);
        const allowed = effect(list.toSpliced(at, 0, yes), q);
        return (before === 'allow' || denied === 'deny') && (before === 'deny' || allowed === 'allow');
      }),
      { numRuns: 1_500 },
    );
  },
);

t.test('INVARIANT: an allow names a rule whose permit covers every hazard', async (t) => {
  // Denials say nothing here, and an allow without hazards little.
  let allowed = 0;
  let withHazards = 0;
  const covers = (permit: string[], hazard: string): boolean =>
    permit.some(
      (one) => one === '*' || oracle(one, hazard) || (one === 'bind:**' && hazard.startsWith('bind:')),
    );
  fc.assert(
    fc.property(rules, asked, (list: Rule[], q) => {
      const verdict = ask(policyOf(list), q.id, q.facts, q.hazards, q.client);
      if (verdict.effect === 'deny') return true;
      allowed += 1;
      if (q.hazards.length > 0) withHazards += 1;
      const rule = list[Number(verdict.rule.slice(1))]!;
      return rule.effect !== 'deny' && q.hazards.every((hazard) => covers(rule.permit ?? [], hazard));
    }),
    { numRuns: 1_500 },
  );
  t.ok(allowed > 40, `${allowed} calls were allowed`);
  t.ok(withHazards > 5, `${withHazards} of them with hazards`);
});

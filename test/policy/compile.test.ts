import t from 'tap';
import { compile, problems } from './words.js';

const everyone = (rule: object): object => ({ rules: [{ id: 'r', sources: ['*'], ...rule }] });

t.test('operations: ids, globs, sets', async (t) => {
  const passes = (...operations: string[]): string[] => {
    const policy = compile(everyone({ operations }));
    return [...policy.operations.keys()];
  };
  t.same(passes('Container*'), ['ContainerList', 'ContainerCreate', 'ContainerStart', 'ContainerExec']);
  t.same(passes('@read', '@build'), ['SystemPing', 'ContainerList', 'ImageBuild']);
  t.equal(passes('*').length, 6);
  t.equal(passes('*', '@read', 'ImageBuild').length, 6, 'named twice, counted once');
});

t.test('problems: where, what was found, what would be valid', async (t) => {
  const rule = { id: 'r', sources: ['*'], operations: ['ImageBuild'] };
  const one = (document: object | string, expected: RegExp | string): void => {
    const found = problems(document);
    t.equal(found.length, 1, JSON.stringify(found));
    if (typeof expected === 'string') t.equal(found[0], expected);
    else t.match(found[0], expected);
  };
  const withRule = (change: object): object => ({ rules: [{ ...rule, ...change }] });
  one('{"rules": [}', /^: .*line 1/);
  one('{"rules": [], "rules": []}', /duplicate|twice/);
  one('[]', ': found an empty array; expected an object.');
  one('{"__proto__": {}}', /__proto__/);
  one('{"sources": {"__proto__": {"listener": ["x"]}}}', /\/sources\/__proto__: unknown key/);
  one({ ruls: [] }, /^\/ruls: unknown key "ruls". Did you mean "rules"\? Valid keys: \$schema, description/);
  one({ mode: 'observ' }, '/mode: found "observ"; valid: "enforce", "observe". Did you mean "observe"?');
  one(withRule({ id: undefined }), '/rules/0/id: missing; expected a string.');
  one(withRule({ id: 7 }), '/rules/0/id: found 7; expected a string.');
  one(withRule({ operation: [] }), /\/rules\/0\/operation: unknown key .* Did you mean "operations"/);
  one(
    withRule({ operations: [] }),
    '/rules/0/operations: found an empty array; expected at least one entry.',
  );
  one(
    withRule({ operations: ['BuildImage'] }),
    /operations\/0: unknown operation "BuildImage". Did you mean "ImageBuild"/,
  );
  one(
    withRule({ operations: ['@buidl'] }),
    /unknown set "@buidl". Did you mean "@build"\? Sets: @build, @exec/,
  );
  one(withRule({ operations: ['Imag?'] }), /"Imag\?" matches no operation/);
  one(
    withRule({ sources: ['cI'] }),
    /sources\/0: unknown source "cI". No file defines a source. "\*" is everyone/,
  );
  one(
    { sources: { runner: { listener: ['x'] } }, rules: [{ ...rule, sources: ['runer'] }] },
    /Did you mean "runner"\? Defined: runner/,
  );
  one(
    withRule({ permit: ['privilegde'] }),
    /permit\/0: unknown hazard "privilegde". Did you mean "privileged"/,
  );
  one(withRule({ permit: ['bind'] }), /needs an argument; "bind:\*\*" permits any/);
  one(withRule({ permit: ['bind:'] }), /needs an argument/);
  one(withRule({ permit: ['privileged:x'] }), /takes no argument; write "privileged"/);
  one(withRule({ permit: ['bi*'] }), /unknown hazard/);
  one(withRule({ effect: 'deny', permit: ['*'] }), /a deny rule cannot permit/);
  one(
    withRule({ where: { 'build.form': { each: ['a'] } } }),
    /unknown fact "build.form". Did you mean "build.from"\? These operations state: name, build.from/,
  );
  one(
    withRule({ where: { 'exec.user': 'a' } }),
    /none of the operations of this rule states "exec.user"; it is stated by ContainerExec/,
  );
  one(withRule({ where: { 'build.from': ['a'] } }), /is a list of values; say which you mean: \{"each"/);
  one(withRule({ where: { 'build.from': { al: ['a'] } } }), /where\/build.from\/al: unknown key "al"/);
  one(withRule({ where: { 'build.from': {} } }), /empty object/);
  one(withRule({ where: { 'build.from': { any: [7] } } }), /build.from\/any\/0: found 7; expected a string/);
  one(withRule({ where: { name: 7 } }), /takes a pattern/);
  one(withRule({ where: { name: 'x'.repeat(600) } }), /at most 512/);
  const create = { ...rule, operations: ['ContainerCreate'] };
  one({ rules: [{ ...create, where: { memory: '1g' } }] }, /takes a number/);
  one({ rules: [{ ...create, where: { memory: { min: 2, max: 1 } } }] }, /no value can satisfy/);
  one({ rules: [{ ...create, where: { 'read-only': 'yes' } }] }, /takes true or false/);
  one({ sources: { ci: {} } }, /^\/sources\/ci: a source needs at least one of/);
  one(
    { sources: { ci: { cidr: ['10.0.0.0/33'] } } },
    /^\/sources\/ci\/cidr\/0: found "10.0.0.0\/33"; expected a network/,
  );
  one({ sources: { ci: { token: ['secret'] } } }, /the token itself does not belong in a policy/);
  one({ sources: { ci: { certificate: ['cn=x'] } } }, /must begin with CN=/);
  one({ sources: { '*': { listener: ['x'] } } }, /found the name "\*"/);
  t.match(problems({ rules: [rule] }, { rules: [rule] }), [
    /^\/rules\/0\/id: the id "r" is already used at 0.json:\/rules\/0/,
  ]);
  const source = { sources: { ci: { listener: ['x'] } } };
  t.match(problems(source, source), [/the source "ci" is already defined in 0.json/]);
  t.same(problems(source, { rules: [{ ...rule, sources: ['ci'] }] }), [], 'sources are shared by all files');
  t.ok(
    problems({ ruls: [], mode: 1 }, { rules: [{ ...rule, operations: ['x'] }] }).length >= 3,
    'all at once',
  );
});

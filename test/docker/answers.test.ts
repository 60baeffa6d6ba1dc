import fc from 'fast-check';
import t from 'tap';
import { editJson } from '../../src/docker/answers/edit-json.js';
import { filterElements, rewriteWhole } from '../../src/docker/answers/elements.js';
import { everywhere, recursive, UNTOUCHED, type Place } from '../../src/docker/answers/place.js';
import { AnswerError, chain, noBody, type AnswerTransform } from '../../src/docker/answers/transform.js';
import { hold } from '../support/fuzz.js';

// The machinery that changes answers while they pass: whatever the cuts, nothing but what is meant to be changed is.

const SECRET = 'hunter2-Geheim';

/** Every piece, then the end; what came out. */
function through(transform: AnswerTransform, bytes: Uint8Array, cuts: readonly number[] = []): Buffer {
  const out: Uint8Array[] = [];
  let from = 0;
  for (const cut of [...cuts, bytes.length]) {
    out.push(Buffer.from(transform.feed(bytes.subarray(from, cut))));
    from = cut;
  }
  out.push(transform.end());
  return Buffer.concat(out);
}

const one = (place: Place): AnswerTransform => editJson(place, { documents: 'one' });
const many = (place: Place): AnswerTransform => editJson(place, { documents: 'many' });
const text = (transform: AnswerTransform, input: string | Buffer): string =>
  through(transform, Buffer.from(input)).toString();

/** Where to cut: any positions, in order, possibly the same one twice. */
const cutsOf = (bytes: Uint8Array): fc.Arbitrary<number[]> =>
  fc.array(fc.nat(bytes.length), { maxLength: 12 }).map((cuts) => cuts.sort((left, right) => left - right));

/** JSON as different writers write it: blanks, escapes, odd numbers. */
const jsonText = fc
  .tuple(fc.json({ maxDepth: 6 }), fc.constantFrom(0, 1, 2), fc.boolean())
  .map(([json, indent, escaped]) => {
    const spaced = JSON.stringify(JSON.parse(json), undefined, indent);
    if (!escaped) return spaced;
    return spaced.replace(
      /[\u007f-\uffff]|[A-Za-z](?=[^"]*"\s*:)/g,
      (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
  })
  .filter((candidate) => {
    try {
      JSON.parse(candidate);
      return true;
    } catch {
      return false;
    }
  });

t.test('without anything to change every byte stays', async (t) => {
  const property = fc.property(
    jsonText.chain((json) => fc.tuple(fc.constant(json), cutsOf(Buffer.from(json)))),
    ([json, cuts]) => through(one(UNTOUCHED), Buffer.from(json), cuts).toString() === json,
  );
  t.ok((await hold('answers: untouched is unchanged', property, 1500)) > 0);
  const odd = '[9007199254740993,-0,1.50,1e-7,2E+05,0.0,"\\u0000\\/\\ud83d\\ude00",{"a":1,"a":2},[ ],{ }]\n';
  for (let cut = 0; cut <= odd.length; cut++) {
    t.equal(through(one(UNTOUCHED), Buffer.from(odd), [cut]).toString(), odd);
  }
});

/** Replaces strings under some keys, edits those under others. */
const PLACES = recursive({
  secret: everywhere('<redacted>'),
  env: everywhere((value) => (value.startsWith('K') ? undefined : `${value.split('=')[0]}=x`)),
});

/** What editJson does, done to the value. */
function model(value: unknown, mode: 'none' | 'secret' | 'env' = 'none'): unknown {
  if (typeof value === 'string') {
    if (value === '' || mode === 'none') return value;
    if (mode === 'secret') return '<redacted>';
    return value.startsWith('K') ? value : `${value.split('=')[0]}=x`;
  }
  if (Array.isArray(value)) return value.map((item) => model(item, mode));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      const folded = key.toLowerCase();
      const next = mode === 'none' && (folded === 'secret' || folded === 'env') ? folded : mode;
      return [key, model(item, next)];
    }),
  );
}

const key = fc.constantFrom('Secret', 'ENV', 'env', 'Name', 'a', 'x y', 'ü', 'secret');
const leaf = fc.oneof(
  fc.string(),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom(SECRET, `A=${SECRET}`, `K=1`, ''),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.boolean(),
  fc.constant(null),
);
const { tree } = fc.letrec((tie) => ({
  tree: fc.oneof({ maxDepth: 6, withCrossShrink: true }, leaf, tie('list'), tie('map')),
  list: fc.array(tie('tree'), { maxLength: 5 }),
  map: fc.dictionary(key, tie('tree'), { maxKeys: 5 }),
}));

t.test('only the places to change are changed', async (t) => {
  const property = fc.property(
    tree.chain((value) => {
      const json = JSON.stringify(value);
      return fc.tuple(fc.constant(json), cutsOf(Buffer.from(json)));
    }),
    ([json, cuts]) => {
      const found = through(one(PLACES), Buffer.from(json), cuts).toString();
      return found === JSON.stringify(model(JSON.parse(json)));
    },
  );
  t.ok((await hold('answers: edited as the model says', property, 3000)) > 0);
});

t.test('keys are compared as Go compares them, however they are written', (t) => {
  for (const spelled of [
    'Secret',
    'secret',
    'SECRET',
    '\\u0053ecret',
    's\\u0065cret',
    'ſecret',
    '\\u017fecret',
  ]) {
    t.equal(text(one(PLACES), `{"${spelled}":"${SECRET}"}`), `{"${spelled}":"<redacted>"}`, spelled);
  }
  for (const other of ['secrets', 'secre', '', 'secret ', 'secret\\u0000', `secret${'x'.repeat(9000)}`]) {
    t.equal(text(one(PLACES), `{"${other}":"v"}`), `{"${other}":"v"}`, 'near miss');
  }
  const twice = `{"Secret":"${SECRET}","Secret":["${SECRET}",{"a":"${SECRET}"}]}`;
  t.equal(text(one(PLACES), twice), '{"Secret":"<redacted>","Secret":["<redacted>",{"a":"<redacted>"}]}');
  t.end();
});

t.test('several documents, where a stream has them', (t) => {
  const documents = `{"secret":"${SECRET}"}\n{"secret":"b"}[1]2 3\r\n"x"null\n`;
  for (let cut = 0; cut <= documents.length; cut++) {
    t.equal(
      through(many(PLACES), Buffer.from(documents), [cut]).toString(),
      '{"secret":"<redacted>"}\n{"secret":"<redacted>"}[1]2 3\r\n"x"null\n',
    );
  }
  t.equal(text(many(PLACES), '\x1e{"a":1}\n\x1e{"a":2}\n'), '\x1e{"a":1}\n\x1e{"a":2}\n');
  t.equal(text(many(PLACES), ''), '');
  t.equal(text(one(PLACES), ' {"a":1}\n '), ' {"a":1}\n ');
  t.throws(() => text(one(PLACES), '{"a":1}{"b":2}'), AnswerError);
  t.throws(() => text(one(PLACES), '{"a":1} x'), AnswerError);
  t.throws(() => text(one(PLACES), '\x1e{"a":1}'), AnswerError);
  t.end();
});

const BAD: readonly (string | Buffer)[] = [
  ...['{', '[', '"', '{"a"', '{"a":', '{"a":1', '[1,', '"\\', '"\\u00', 'tru', '-', '1.', '1e', '1e+'],
  ...['{"a":1,}', '[1,]', '[,1]', '{,}', '{"a" 1}', '{a:1}', "{'a':1}", '{"a":1 "b":2}', '[1 2]', '{1:2}'],
  ...['[1}', '{"a":1]', ']', '}', ',', ':', '[1]]', '{"a":1}}'],
  ...['01', '-01', '+1', '.5', '1.e5', '0x10', '1_0', 'NaN', 'Infinity', '--1', '1e5.5', '1-2', '00'],
  ...['True', 'nul1', 'nullx', 'truefalse', 'undefined'],
  ...['"\\x41"', '"\\u12g4"', '"\\\n"', '"a\nb"', '"a\tb"', '"\x00"', '"\x1f"'],
  ...['// x\n1', '/* */1', '#\n1', '1 // x', '\u00a01', '\u20281', '\f1', '\v1'],
  '\ufeff{"a":1}',
  Buffer.from([0x22, 0x80, 0x22]),
  Buffer.from([0x22, 0xc0, 0xaf, 0x22]),
  Buffer.from([0x22, 0xe0, 0x80, 0x80, 0x22]),
  Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]),
  Buffer.from([0x22, 0xf4, 0x90, 0x80, 0x80, 0x22]),
  Buffer.from([0x22, 0xf5, 0x80, 0x80, 0x80, 0x22]),
  Buffer.from([0x22, 0xc3, 0x22]),
  Buffer.from('{"a":1}', 'utf16le'),
];

t.test('malformed JSON is an error, and stays one', (t) => {
  for (const input of BAD) {
    const bytes = Buffer.from(input);
    for (let cut = 0; cut <= bytes.length; cut++) {
      t.throws(
        () => through(one(PLACES), bytes, [cut]),
        AnswerError,
        `${input.toString('latin1')} cut at ${cut}`,
      );
    }
    const transform = one(PLACES);
    try {
      transform.feed(bytes);
    } catch {
      t.throws(() => transform.feed(Buffer.from('{"a":1}')), AnswerError, 'nothing passes after an error');
      t.throws(() => transform.end(), AnswerError);
    }
  }
  t.throws(() => text(one(PLACES), `${'['.repeat(513)}${']'.repeat(513)}`), /nested deeper than 512/);
  t.equal(text(one(PLACES), `${'['.repeat(512)}${']'.repeat(512)}`).length, 1024);
  t.end();
});

const PLANTED = `"Planted":["${SECRET}",{"b":"${SECRET}"}]`;

t.test('malformed input never lets through what follows the flaw', async (t) => {
  const property = fc.property(
    tree.chain((value) => {
      const json = Buffer.from(`{"a":${JSON.stringify(value)},${PLANTED}}`);
      const flaw = fc.tuple(fc.nat(json.length - 1), fc.nat(255), fc.constantFrom('set', 'insert', 'cut'));
      return fc.tuple(fc.constant(json), flaw, cutsOf(json));
    }),
    ([json, [where, byte, kind], cuts]) => {
      const after = json.subarray(kind === 'insert' ? where : where + 1);
      const rest = kind === 'cut' ? [] : [Buffer.from([byte]), after];
      const broken = Buffer.concat([json.subarray(0, where), ...rest]);
      const out: Uint8Array[] = [];
      let threw = false;
      const transform = one(recursive({ planted: everywhere('<redacted>') }));
      try {
        let from = 0;
        for (const cut of [...cuts.filter((position) => position < broken.length), broken.length]) {
          out.push(Buffer.from(transform.feed(broken.subarray(from, cut))));
          from = cut;
        }
        out.push(transform.end());
      } catch {
        threw = true;
      }
      const safe =
        !broken.includes(PLANTED) || !Buffer.concat(out).includes(`"Planted":["${SECRET.slice(0, 1)}`);
      return threw === !isJson(broken) && safe;
    },
  );
  t.ok((await hold('answers: malformed input is an error', property, 4000)) > 0);
});

function isJson(bytes: Uint8Array): boolean {
  try {
    const decoded = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    // Nothing at all is fine.
    if (decoded !== '') JSON.parse(decoded);
    return true;
  } catch {
    return false;
  }
}

t.test('memory is bounded: long values and keys', (t) => {
  const long = 'x'.repeat(1 << 20);
  t.equal(text(one(PLACES), `{"secret":"${long}"}`), '{"secret":"<redacted>"}');
  t.equal(text(one(PLACES), `{"env":["A=${long}","B=1"]}`), '{"env":["<redacted>","B=x"]}');
  t.equal(text(one(PLACES), `{"${long}":{"secret":"s"}}`), `{"${long}":{"secret":"<redacted>"}}`);
  const transform = one(PLACES);
  transform.feed(Buffer.from('{"env":["K='));
  let out = 0;
  for (let i = 0; i < 1000; i++) out += transform.feed(Buffer.from(long)).length;
  out += transform.feed(Buffer.from('"]}')).length;
  t.equal(out, '"<redacted>"]}'.length, 'a gigabyte in one string leaves nothing behind');
  t.end();
});

t.test('elements of a list', async (t) => {
  const limits = { element: 1000 };
  const even = filterElements((value) => typeof value === 'object', limits);
  t.equal(text(even, ' [1, {"a":"]},["} , 2,[3,[4]] ,"x"]\n'), ' [ {"a":"]},["} ,[3,[4]] ]\n');
  const all = (): AnswerTransform => filterElements(() => true, limits);
  const none = (): AnswerTransform => filterElements(() => false, limits);
  t.equal(text(none(), '[1,2]'), '[]');
  t.equal(text(all(), '[ ]'), '[]');
  t.equal(text(all(), 'null'), 'null');
  t.throws(() => text(all(), '{"message":"x"}'), /not a list/);
  t.throws(() => text(all(), '"x"'), /not a list/);
  t.throws(() => text(all(), '[1'), AnswerError);
  t.throws(() => text(all(), '[1]x'), AnswerError);
  t.throws(() => text(none(), `["${'x'.repeat(1000)}"]`), /larger than 1000 bytes/);
  t.throws(() => text(none(), '[{"a":1,"a":2}]'), AnswerError, 'an element with two readings is not judged');
  try {
    text(none(), `[{"${SECRET}":1,"${SECRET}":2}]`);
    t.fail('must throw');
  } catch (error) {
    t.notMatch((error as Error).message, SECRET, 'an error quotes nothing of the answer');
  }
  let seen: unknown;
  text(
    filterElements((value) => ((seen = value), true), limits),
    '[{"Size":9007199254740993}]',
  );
  t.equal((seen as { Size: bigint }).Size, 9007199254740993n);
  const property = fc.property(
    fc.array(fc.jsonValue({ maxDepth: 3 }), { maxLength: 6 }).chain((list) => {
      const json = JSON.stringify(list, (_key, value: unknown) => (Object.is(value, -0) ? 0 : value));
      return fc.tuple(fc.constant(json), cutsOf(Buffer.from(json)), fc.infiniteStream(fc.boolean()));
    }),
    ([json, cuts, stream]) => {
      const list = JSON.parse(json) as unknown[];
      const kept = list.map(() => stream.next().value as boolean);
      let n = 0;
      const found = through(
        filterElements(() => kept[n++]!, { element: 1e6 }),
        Buffer.from(json),
        cuts,
      ).toString();
      return found === JSON.stringify(list.filter((_, index) => kept[index])) && n === list.length;
    },
  );
  t.ok((await hold('answers: elements are kept or not', property, 1000)) > 0);
});

t.test('transforms in a chain, whole answers, no answer at all', (t) => {
  const both = chain(
    filterElements((value) => value !== 2, { element: 100 }),
    one(everywhere('<x>')),
  );
  t.equal(text(both, '[1,2,"a"]'), '[1,"<x>"]');
  const whole = (): AnswerTransform => rewriteWhole((value) => [value], 24);
  t.equal(text(whole(), '{"a":9007199254740993}'), '[{"a":9007199254740993}]\n');
  t.throws(() => text(whole(), '{"a":90071992547409931234}'), /the answer is larger than 24 bytes/);
  t.throws(() => text(whole(), '{"a":1'), AnswerError);
  t.equal(text(whole(), ''), '');
  t.equal(text(noBody('a body'), ''), '');
  t.throws(() => text(noBody('a body'), 'x'), /a body/);
  t.end();
});

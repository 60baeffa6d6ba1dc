import fc from 'fast-check';
import t from 'tap';
import { decodeJson, parseStrictJson, decodePlain } from '../../src/docker/go-json.js';
import { decodeScanned } from '../../src/docker/go-json-scanned.js';
import { foldKey } from '../../src/docker/json-scan.js';
import type { JsonValue } from '../../src/base/json.js';
import { unlimited } from '../../src/base/work.js';
import { Refusal } from '../../src/docker/refusal.js';
import { renderJson } from '../../src/docker/render.js';
import type { Schema } from '../../src/docker/schema.js';
import { hold } from '../support/fuzz.js';

const string: Schema = { type: 'string' };
const nested: Schema = {
  type: 'object',
  fields: {
    Source: string,
    ReadOnly: { type: 'boolean' },
    Sizes: { type: 'array', items: { type: 'integer', bits: 64 } },
  },
};
const schema: Schema = {
  type: 'object',
  fields: {
    Image: string,
    Privileged: { type: 'boolean' },
    Memory: { type: 'integer', bits: 64 },
    Small: { type: 'integer', bits: 8 },
    Port: { type: 'integer', bits: 16, unsigned: true },
    Big: { type: 'integer', bits: 64, unsigned: true },
    Cpus: { type: 'float' },
    Data: { type: 'bytes' },
    Cmd: { type: 'strslice' },
    Binds: { type: 'array', items: string },
    Mounts: { type: 'array', items: nested },
    Labels: { type: 'map', values: string },
    Networks: { type: 'map', values: nested },
    HostConfig: nested,
    KernelMemory: { type: 'integer', bits: 64 },
    Free: { type: 'any' },
  },
};
const limits = { jsonDepth: 32, jsonBody: 1 << 20 };
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const decode = (text: string): string =>
  renderJson(decodeJson(encode(text), schema, limits, unlimited()).value);

function refusalOf(run: () => unknown): Refusal {
  try {
    run();
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
  throw new Error('expected a refusal');
}

t.test('bodies: how they are read, and how they are written anew', async (t) => {
  const table: readonly (readonly [name: string, text: string, written: string])[] = [
    ['plain', '{"Image":"alpine"}', '{"Image":"alpine"}'],
    ['blanks around', ' \t\r\n{ "Image" : "a" } \n', '{"Image":"a"}'],
    ['folded case', '{"image":"a","PRIVILEGED":true}', '{"Image":"a","Privileged":true}'],
    ['long s', '{"Bind\u017f":["/:/h"]}', '{"Binds":["/:/h"]}'],
    ['kelvin sign', '{"\u212aernelMemory":1}', '{"KernelMemory":1}'],
    ['escaped key', '{"\\u0050rivileged":true}', '{"Privileged":true}'],
    ['escaped long s', '{"Bind\\u017f":["/:/h"]}', '{"Binds":["/:/h"]}'],
    ['null field', '{"Image":null,"HostConfig":null,"Binds":null}', '{}'],
    ['null in an array of strings', '{"Binds":[null,"a"]}', '{"Binds":["","a"]}'],
    ['null in a map of strings', '{"Labels":{"a":null}}', '{"Labels":{"a":""}}'],
    ['null in a map of objects', '{"Networks":{"n":null}}', '{"Networks":{"n":null}}'],
    ['null body', 'null', '{}'],
    ['keys of a map are data', '{"Labels":{"a":"1","A":"2"}}', '{"Labels":{"a":"1","A":"2"}}'],
    [
      '__proto__ is a key',
      '{"Labels":{"__proto__":"x","constructor":"y"}}',
      '{"Labels":{"__proto__":"x","constructor":"y"}}',
    ],
    ['beyond 2^53', '{"Memory":9007199254740993}', '{"Memory":9007199254740993}'],
    [
      'int64 ends',
      '{"Memory":-9223372036854775808,"Big":18446744073709551615}',
      '{"Memory":-9223372036854775808,"Big":18446744073709551615}',
    ],
    ['minus zero', '{"Memory":-0,"Cpus":-0.0}', '{"Memory":0,"Cpus":0}'],
    ['float', '{"Cpus":1.5e3}', '{"Cpus":1500}'],
    ['command as a string', '{"Cmd":"echo hi"}', '{"Cmd":["echo hi"]}'],
    ['command as an array', '{"Cmd":["a",null]}', '{"Cmd":["a",""]}'],
    ['empty command stays', '{"Cmd":[]}', '{"Cmd":[]}'],
    ['base64 with line breaks', '{"Data":"YW\\nI="}', '{"Data":"YWI="}'],
    ['base64 with stray bits', '{"Data":"YR=="}', '{"Data":"YQ=="}'],
    ['surrogate pair', '{"Image":"\\ud83d\\ude00"}', '{"Image":"😀"}'],
    ['all escapes', '{"Image":"\\"\\\\\\/\\b\\f\\n\\r\\t"}', '{"Image":"\\"\\\\/\\b\\f\\n\\r\\t"}'],
    [
      'any',
      '{"Free":{"a":[1,null,"x",9007199254740993],"A":1.25}}',
      '{"Free":{"a":[1,null,"x",9007199254740993],"A":1.25}}',
    ],
    ['zero-valued unknown fields', '{"X":null,"Y":false,"Z":0,"U":"","V":[],"W":{},"T":-0.0}', '{}'],
    ['unknown field', '{"Extra":{"a":1}}', '{"Extra":{"a":1}}'],
  ];
  for (const [name, text, written] of table) {
    t.equal(decode(text), written, name);
    t.equal(decode(written), written, `${name}: writing it again changes nothing`);
  }
});

t.test('ambiguous JSON is refused', async (t) => {
  const table: readonly (readonly [name: string, text: string, code: string, message: RegExp])[] = [
    ['duplicate', '{"Image":"a","Image":"b"}', 'duplicate-key', /\/Image/],
    [
      'duplicate by case',
      '{"HostConfig":{"ReadOnly":false},"hostConfig":{"ReadOnly":true}}',
      'duplicate-key',
      /twice/,
    ],
    ['duplicate by long s', '{"Binds":[],"Bind\u017f":["/:/h"]}', 'duplicate-key', /\/Binds/],
    ['duplicate by kelvin sign', '{"KernelMemory":0,"\u212aernelMemory":1}', 'duplicate-key', /twice/],
    ['duplicate by an escape', '{"Image":"a","\\u0049mage":"b"}', 'duplicate-key', /twice/],
    ['null does not undo', '{"Privileged":true,"Privileged":null}', 'duplicate-key', /\/Privileged/],
    ['a value after null', '{"Privileged":null,"privileged":true}', 'duplicate-key', /\/Privileged/],
    ['duplicate unknown __proto__', '{"__proto__":1,"__PROTO__":0}', 'duplicate-key', /twice/],
    ['duplicate map key', '{"Labels":{"a":"1","a":"2"}}', 'duplicate-key', /\/Labels\/a/],
    ['duplicate __proto__', '{"Labels":{"__proto__":"1","__proto__":"2"}}', 'duplicate-key', /__proto__/],
    ['duplicate unknown key', '{"Foo":0,"foo":1}', 'duplicate-key', /foo/],
    ['folded twins in an unknown object', '{"Foo":{"a":false,"A":true}}', 'invalid-json', /twice/],
    ['trailing object', '{"Image":"a"}{"Image":"b"}', 'invalid-json', /after the JSON value/],
    ['trailing text', '{} x', 'invalid-json', /line 1, column 4/],
    ['trailing NUL', '{}\0', 'invalid-json', /after/],
    ['byte order mark', '\ufeff{}', 'invalid-json', /byte order mark/],
    ['blanks alone', ' \n', 'invalid-json', /end of the text/],
    ['no-break space', '\u00a0{}', 'json-type|invalid-json', /./],
    ['half pair', '{"Image":"\\ud800"}', 'invalid-json', /surrogate/],
    ['low half alone', '{"Image":"\\ude00"}', 'invalid-json', /surrogate/],
    ['two high halves', '{"Image":"\\ud800\\ud800"}', 'invalid-json', /surrogate/],
    ['raw control character', '{"Image":"a\u0001"}', 'invalid-json', /control character/],
    ['raw line break in a string', '{"Image":"a\n"}', 'invalid-json', /line 1, column 12/],
    ['bad escape', '{"Image":"\\x41"}', 'invalid-json', /escape/],
    ['single quotes', "{'Image':'a'}", 'invalid-json', /"key" belongs/],
    ['comment', '{/**/}', 'invalid-json', /"\/"/],
    ['trailing comma', '{"Image":"a",}', 'invalid-json', /"key" belongs/],
    ['trailing comma in an array', '{"Binds":["a",]}', 'json-type|invalid-json', /value belongs/],
    ['leading zero', '{"Memory":01}', 'invalid-json', /./],
    ['plus sign', '{"Memory":+1}', 'invalid-json', /value belongs/],
    ['NaN', '{"Cpus":NaN}', 'invalid-json', /value belongs/],
    ['True', '{"Privileged":True}', 'invalid-json', /value belongs/],
    ['nul', '{"Image":nul}', 'invalid-json', /value belongs/],
    ['cut', '{"Image":"a"', 'invalid-json', /the end of the text/],
    ['cut string', '{"Image":"a', 'invalid-json', /without an end/],
    ['int8 range', '{"Small":128}', 'json-range', /\/Small: 128 is out of range for a signed 8-bit integer/],
    ['uint16 range', '{"Port":65536}', 'json-range', /unsigned 16-bit/],
    ['unsigned minus zero', '{"Port":-0}', 'json-range', /-0/],
    ['int64 range', '{"Memory":9223372036854775808}', 'json-range', /64-bit/],
    ['uint64 range', '{"Big":18446744073709551616}', 'json-range', /64-bit/],
    ['fraction', '{"Memory":1.0}', 'json-type', /no fraction or exponent/],
    ['exponent', '{"Memory":1e3}', 'json-type', /no fraction or exponent/],
    ['float range', '{"Cpus":1e400}', 'json-range', /1e400/],
    [
      'string for a boolean',
      '{"Privileged":"true"}',
      'json-type',
      /\/Privileged: true or false belongs here, found the string "true"/,
    ],
    ['number for a boolean', '{"Privileged":1}', 'json-type', /found the number 1/],
    ['string for an integer', '{"Memory":"1"}', 'json-type', /an integer belongs here/],
    ['object for a string', '{"Image":{}}', 'json-type', /found an object/],
    [
      'array for an object',
      '{"HostConfig":[]}',
      'json-type',
      /\/HostConfig: an object belongs here, found an array/,
    ],
    ['number in a list', '{"Binds":["a",1]}', 'json-type', /\/Binds\/1: a string belongs here/],
    ['pointer is escaped', '{"Labels":{"a/b~c":1}}', 'json-type', /\/Labels\/a~1b~0c/],
    ['array at the root', '[]', 'json-type', /the root: an object belongs here/],
    ['string at the root', '"x"', 'json-type', /the root/],
    ['base64url', '{"Data":"-_=="}', 'json-type', /base64/],
    ['base64 without padding', '{"Data":"YQ"}', 'json-type', /base64/],
    ['base64 with a blank', '{"Data":"YQ =="}', 'json-type', /base64/],
    ['too deep', `{"Free":${'['.repeat(40)}${']'.repeat(40)}}`, 'invalid-json', /deeper than 32/],
    ['9,000 levels', `{"X":${'['.repeat(9000)}${']'.repeat(9000)}}`, 'invalid-json', /deeper/],
    ['endless number', `{"Free":${'9'.repeat(1000)}}`, 'invalid-json', /too many digits/],
  ];
  for (const [name, text, code, message] of table) {
    const refusal = refusalOf(() => decode(text));
    t.equal(refusal.status, 400, name);
    t.match(refusal.code, new RegExp(`^(?:${code})$`), name);
    t.match(refusal.message, message, name);
  }
});

t.test('bytes', async (t) => {
  const invalid = [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82]];
  for (const bytes of invalid) {
    const body = Uint8Array.from([...encode('{"Image":"'), ...bytes, ...encode('"}')]);
    t.equal(
      refusalOf(() => decodeJson(body, schema, limits, unlimited())).code,
      'invalid-utf8',
      bytes.join(' '),
    );
  }
  t.equal(
    refusalOf(() => decodeJson(new Uint8Array(1 + (1 << 20)), schema, limits, unlimited())).status,
    413,
  );
});

t.test('unknown fields', async (t) => {
  const { value, unknown } = decodeJson(
    encode('{"HostConfig":{"New":{"a":1},"Zero":[]},"Mounts":[{},{"O/p~":true}],"Other":"x"}'),
    schema,
    limits,
    unlimited(),
  );
  t.same(
    unknown.map(({ where }) => where),
    ['/HostConfig/New', '/Mounts/1/O~1p~0', '/Other'],
  );
  t.equal(unknown[2]?.value, 'x');
  t.equal(renderJson(value), '{"HostConfig":{"New":{"a":1}},"Mounts":[{},{"O/p~":true}],"Other":"x"}');
  const many = `{${Array.from({ length: 65 }, (_, index) => `"x${index}":1`).join(',')}}`;
  t.equal(refusalOf(() => decode(many)).code, 'too-many-unknown-fields');
  const long = `{"Networks":{"${'k'.repeat(2000)}":{"x":1}}}`;
  t.equal(refusalOf(() => decode(long)).code, 'too-many-unknown-fields');
});

t.test('roots', async (t) => {
  const list: Schema = { type: 'array', items: string };
  t.equal(renderJson(decodeJson(encode('["a"]'), list, limits, unlimited()).value), '["a"]');
  t.equal(renderJson(decodeJson(encode('null'), list, limits, unlimited()).value), '[]');
  t.equal(refusalOf(() => decodeJson(encode('{}'), list, limits, unlimited())).code, 'json-type');
});

t.test('parseStrictJson', async (t) => {
  t.equal(
    renderJson(parseStrictJson(' {"a":[1,{"A":null}],"b":12345678901234567890} ')),
    '{"a":[1,{"A":null}],"b":12345678901234567890}',
  );
  t.match(
    refusalOf(() => parseStrictJson('{\n  "a": 1,\n  "a": 2\n}')).message,
    /line 3, column 7: .*"a".* twice/,
  );
  t.match(refusalOf(() => parseStrictJson('{\n  "a": 1\n  "b": 2\n}')).message, /line 3, column 3/);
  t.match(refusalOf(() => parseStrictJson('"\ud800"')).message, /surrogate/);
  t.match(refusalOf(() => parseStrictJson('[[[]]]', 2)).message, /deeper than 2/);
  t.equal(Object.getPrototypeOf(parseStrictJson('{"__proto__":{"a":1}}')), null);
});

t.test('folding is that of encoding/json', async (t) => {
  t.equal(foldKey('Bind\u017f'), foldKey('BINDS'));
  t.equal(foldKey('\u212aernel'), foldKey('kernel'));
  t.not(foldKey('\u0130mage'), foldKey('image'), 'dotted capital I is another letter');
  t.not(foldKey('\u00c5'), foldKey('a'));
});

t.test('properties', async () => {
  const deep = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom(null, true, false, 0, 1, ''),
      fc.string({ unit: 'grapheme' }),
      fc.maxSafeInteger(),
      fc.bigInt({ min: 1n << 53n, max: (1n << 64n) - 1n }),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(fc.string({ unit: 'grapheme' }), tie('value'), { maxKeys: 4, noNullPrototype: false }),
    ),
  })).value;
  await hold(
    'json: what is written is read again',
    fc.property(deep, (value) => {
      const text = renderJson(value as JsonValue);
      return renderJson(parseStrictJson(text)) === text;
    }),
    300,
  );
  await hold(
    'json: decoded, written and decoded, it is the same',
    fc.property(deep, (value) => {
      const text = renderJson(value as JsonValue);
      let bytes: Uint8Array;
      try {
        bytes = encode(renderJson(decodeJson(encode(`{"Free":${text}}`), schema, limits, unlimited()).value));
      } catch (error) {
        return error instanceof Refusal;
      }
      return (
        renderJson(decodeJson(bytes, schema, limits, unlimited()).value) ===
        new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
      );
    }),
    300,
  );
  const pieces = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '\\',
    '\\u',
    'd800',
    '"Image"',
    '"Binds"',
    '"x"',
    '1',
    '-',
    '.',
    'e',
    'null',
    'true',
    ' ',
    '\0',
    '\u017f',
  );
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc.array(pieces, { maxLength: 24 }).map((list) => encode(list.join(''))),
  );
  await hold(
    'json: noise is read or refused',
    fc.property(noise, (bytes) => {
      try {
        decodeJson(bytes, schema, limits, unlimited());
        return true;
      } catch (error) {
        return error instanceof Refusal;
      }
    }),
    2000,
  );
});

t.test('the fast path gives the same value as the full decoder, or none', async (t) => {
  // Two fields that differ by case alone, as some types of the API have them.
  const shared: Schema = { type: 'object', fields: { ...schema.fields, Twin: string, twin: string } };
  const numbers = [
    '0',
    '7',
    '-1',
    '-0',
    '00',
    '01',
    '1.0',
    '1e2',
    '127',
    '128',
    '-128',
    '-129',
    '65535',
    '65536',
  ];
  const large = ['999999999999999', '9007199254740993', '9223372036854775808', '18446744073709551615'];
  const texts = [
    '""',
    '"a"',
    '"a:b"',
    '":"',
    '"{"',
    '"\\u0061"',
    '"\\\\"',
    '"\u00e9"',
    '"\u017f"',
    '"YQ=="',
    '"\x7f"',
  ];
  const scalar = fc.constantFrom(
    ...numbers,
    ...large,
    ...texts,
    'true',
    'false',
    'null',
    'nul',
    '{}',
    '[]',
    '-',
  );
  const key = fc.constantFrom(
    ...Object.keys(shared.fields).flatMap((name) => [name, name, name]),
    ...[
      'image',
      'BINDS',
      'Bind\u017f',
      'Source',
      'Sizes',
      '__proto__',
      'constructor',
      'toString',
      '10',
      '',
      'a:',
      '\\u0049mage',
    ],
  );
  const blank = fc.constantFrom('', '', '', '', ' ', '\n', '\t', '\ufeff', '\u00a0');
  const value = fc.letrec<{ any: string }>((tie) => ({
    any: fc.oneof(
      { maxDepth: 4, depthIdentifier: 'json' },
      scalar,
      fc
        .tuple(blank, fc.array(tie('any'), { maxLength: 3 }))
        .map(([b, items]) => `[${items.join(`${b},`)}${b}]`),
      fc
        .tuple(blank, fc.array(fc.tuple(key, tie('any')), { maxLength: 4 }))
        .map(([b, members]) => `{${members.map(([k, v]) => `"${k}"${b}:${b}${v}`).join(`,${b}`)}}`),
    ),
  })).any;
  // Bodies as clients send them, each value of its field's type, so that many go the short way.
  const typed: Record<string, fc.Arbitrary<string>> = {
    Image: fc.constantFrom(...texts),
    Memory: fc.constantFrom(...numbers, ...large),
    Small: fc.constantFrom(...numbers),
    Port: fc.constantFrom(...numbers),
    Cmd: fc.constantFrom('"a b"', '["a","b"]', '[]', '["a",null]', '[1]'),
    Labels: fc.constantFrom(
      '{}',
      '{"a":"b"}',
      '{"a":"b","a":"c"}',
      '{"A":"b","a":"c"}',
      '{"__proto__":"x"}',
      '{"9":"x","b":"y","1":"z"}',
      '{"a":null}',
    ),
    HostConfig: fc.constantFrom(
      '{}',
      '{"Source":"a"}',
      '{"Source":null}',
      '{"source":"a"}',
      '{"Sizes":[1,2]}',
      '{"Source":"a","Source":"a"}',
      '[]',
    ),
    Twin: fc.constantFrom('"a"', 'null'),
  };
  const member = fc.oneof(
    ...Object.entries(typed).map(([name, of]) => of.map((text) => `"${name}":${text}`)),
    fc.constantFrom('"Image" :"a"', '"image":"a"', '"Image":null', '"Privileged":true', '"Privileged":false'),
  );
  const body = fc.oneof(
    fc
      .tuple(blank, fc.uniqueArray(member, { maxLength: 5 }))
      .map(([b, members]) => `${b}{${members.join(`,${b}`)}}${b}`),
    value,
  );
  let short = 0;
  let refused = 0;
  /** INVARIANT: objects inherit nothing. */
  const bare = (found: JsonValue): boolean =>
    typeof found !== 'object' ||
    found === null ||
    ((Array.isArray(found) || !('constructor' in found) || Object.hasOwn(found, 'constructor')) &&
      Object.values(found).every(bare));
  await hold(
    'json: the short way gives what the long way gives',
    fc.property(body, fc.constantFrom(schema, shared), fc.constantFrom(1, 2, 3, 32), (text, type, depth) => {
      const plain = decodePlain(text, type, depth);
      if (plain === undefined) return true;
      short += 1;
      const scanned = decodeScanned(text, type, depth, unlimited());
      return renderJson(plain) === renderJson(scanned.value) && scanned.unknown.length === 0 && bare(plain);
    }),
    8_000,
  );
  await hold(
    'json: what the long way refuses, the short way never takes',
    fc.property(body, (text) => {
      try {
        decodeScanned(text, schema, 32, unlimited());
      } catch (error) {
        refused += 1;
        // What the long way refuses, the short way never takes.
        return error instanceof Refusal && decodePlain(text, schema, 32) === undefined;
      }
      return true;
    }),
    4_000,
  );
  t.ok(short > 500, `${short} bodies went the short way`);
  t.ok(refused > 500, `${refused} bodies were refused`);
  t.equal(
    decodePlain(`{"Image":"${'a'.repeat(70_000)}"}`, schema, 32),
    undefined,
    'long texts go the long way',
  );
});

t.test('written the short way or the long way, the text is the same', async (t) => {
  const any = fc.jsonValue({ maxDepth: 4 }) as fc.Arbitrary<JsonValue>;
  const big = 10n ** 20n;
  await hold(
    'json: written the short way or the long way',
    // A bigint anywhere takes the whole value the long way.
    fc.property(any, (value) => renderJson([value, big]) === `[${renderJson(value)},${big}]`),
    1_000,
  );
  t.equal(renderJson({ a: 'null', b: [1n, null], c: -0 }), '{"a":"null","b":[1,null],"c":0}');
  for (const number of [Number.NaN, Infinity, -Infinity]) {
    t.throws(() => renderJson({ a: [number] }), RangeError);
  }
});

t.test('time is linear in the size', async (t) => {
  const size = 1 << 20;
  const attacks: Record<string, string> = {
    nesting: '['.repeat(size),
    objects: '{"a":'.repeat(size / 5),
    'one long key': `{"${'k'.repeat(size - 10)}":1}`,
    'many keys': `{"Labels":{${Array.from({ length: size / 14 }, (_, index) => `"k${index}":""`).join(',')}}}`,
    'one long number': '9'.repeat(size),
    escapes: `{"Image":"${'\\u0061'.repeat(size / 7)}"}`,
    blanks: ' '.repeat(size),
    'unknown under long map keys': `{"Networks":{"${'k'.repeat(size / 2)}":{${Array.from({ length: size / 40 }, (_, index) => `"u${index}":1`).join(',')}}}}`,
  };
  for (const [name, text] of Object.entries(attacks)) {
    const start = performance.now();
    try {
      decodeJson(encode(text), schema, limits, unlimited());
    } catch (error) {
      t.ok(error instanceof Refusal, name);
      t.ok((error as Refusal).message.length < 600, `${name}: a short message`);
    }
    t.ok(performance.now() - start < 2000, `${name}: ${Math.round(performance.now() - start)} ms`);
  }
});

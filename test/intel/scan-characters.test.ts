import t from 'tap';
import { isDotLike, isWide } from '../../src/intel/scan-characters.js';

// The lists of characters, written anew: an entry that is lost or misspelt is missed.

t.test('each character beyond ASCII that ends a name', async (t) => {
  const single = [
    ...[0x80, 0x85, 0xa0, 0xab, 0xbb, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0x3001, 0xfeff, 0xfffd],
    ...[0xff0c, 0xff1b, 0xff1a, 0xff01, 0xff1f, 0xff08, 0xff09],
  ];
  const ranges = [
    [0x2000, 0x200a],
    [0x2010, 0x2023],
    [0x3008, 0x3011],
  ] as const;
  const ends = new Set(single);
  for (const [from, to] of ranges) for (let code = from; code <= to; code++) ends.add(code);
  const wrong: string[] = [];
  for (let code = 0x80; code <= 0xffff; code++)
    if (isWide(code) === ends.has(code)) wrong.push(code.toString(16));
  t.same(wrong, []);
});

t.test('each character that is read as a dot', async (t) => {
  const dots = new Set([0x2e, 0x3002, 0xff0e, 0xff61, 0x2024]);
  const wrong: string[] = [];
  for (let code = 0; code <= 0xffff; code++)
    if (isDotLike(code) !== dots.has(code)) wrong.push(code.toString(16));
  t.same(wrong, []);
});

import t from 'tap';
import { parseFeed } from '../../src/intel/formats/parse.js';
import type { FormatName } from '../../src/intel/formats/format.js';

// The lists are written anew: an entry that is lost or misspelt is missed.

function read(text: string, format: FormatName): { values: string[]; skipped: number; rejected: number } {
  const feed = parseFeed(text, format, 0);
  const values = [...feed.indicators].map(({ value }) => value);
  return { values, skipped: feed.skipped, rejected: feed.rejected };
}

t.test('each option under which an AdBlock rule still means a whole domain', async (t) => {
  const rule = (options: string) => read(`||c2.evil.example^${options}\n`, 'adblock');
  t.same(rule(''), { values: ['c2.evil.example'], skipped: 0, rejected: 0 });
  for (const option of ['important', 'all', 'third-party', '3p', 'document', 'doc', 'popup']) {
    t.same(rule(`$${option}`).values, ['c2.evil.example'], option);
    t.same(rule(`$${option},important`).values, ['c2.evil.example'], `${option}, and one more`);
    t.same(rule(`$~${option}`), { values: [], skipped: 1, rejected: 0 }, `~${option}`);
  }
  for (const option of ['script', 'image', 'domain=example.com', '1p', 'popups', 'document,image'])
    t.same(rule(`$${option}`), { values: [], skipped: 1, rejected: 0 }, `${option}: only a part of pages`);
});

t.test('each answer of a response policy zone that refuses, each type of its records', async (t) => {
  const zone = (record: string) => read(`$ORIGIN rpz.example.\n${record}\n`, 'rpz');
  for (const target of ['.', '*.', 'rpz-drop.', 'RPZ-DROP.'])
    t.same(zone(`c2.evil.example CNAME ${target}`).values, ['c2.evil.example'], target);
  for (const target of ['rpz-passthru.', 'rpz-tcp-only.', 'walled.example.'])
    t.same(zone(`c2.evil.example CNAME ${target}`), { values: [], skipped: 1, rejected: 0 }, target);
  for (const type of ['NS', 'A', 'AAAA', 'TXT', 'MX', 'PTR', 'SRV', 'DNAME', 'RRSIG', 'DNSKEY', 'NSEC']) {
    t.same(zone(`c2.evil.example 300 IN ${type} x`), { values: [], skipped: 1, rejected: 0 }, type);
    t.same(zone(`c2.evil.example 300 IN MY${type} x`).rejected, 1, `MY${type}: no record`);
  }
  t.same(zone('@ SOA ns.example. me.example. (\n 1 2 3 4 5 )\nc2.evil.example CNAME .').values, [
    'c2.evil.example',
  ]);
});

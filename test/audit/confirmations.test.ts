import t from 'tap';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Sender } from '../../src/audit/formats/format.js';
import { startDelivery } from '../../src/audit/sinks/delivery.js';
import { TAKEN, type Outgoing, type Transport } from '../../src/audit/sinks/sink.js';
import { sleep, until } from '../support/command.js';
import { config, journalIn, room, write } from '../support/sink-room.js';

// A receiver that confirms in whatever order it likes: the cursor never passes what it has not confirmed.

const sender: Sender = { version: '0', host: 'h' };

interface Asked {
  readonly ok: () => void;
  readonly fail: (error: Error) => void;
}

t.test('confirmations out of order, and one that never comes', async (t) => {
  const directory = room();
  mkdirSync(directory);
  const journal = journalIn(directory);
  t.teardown(() => journal.close());
  const sent: number[][] = [];
  const asked: Asked[] = [];
  const transport: Transport = {
    send: async (messages: readonly Outgoing[]) => {
      sent.push(messages.map(({ seq }) => seq));
      return TAKEN;
    },
    confirm: () => new Promise((ok, fail) => void asked.push({ ok, fail })),
    reset() {},
    close: async () => {},
  };
  await write(journal, 40);
  const options = config('', {
    batch: { records: 10, bytes: 2 ** 20, interval: 1 },
    confirm: { records: 10, interval: 5, settle: 0 },
  });
  const delivery = startDelivery({ config: options, directory, sender, transport, warn: () => {} });
  t.teardown(() => delivery.stop(10));
  const cursor = (): number =>
    (JSON.parse(readFileSync(join(directory, 'cursor-s.json'), 'utf8')) as { seq: number }).seq;

  t.ok(await until(() => asked.length >= 4, 5_000, 5), 'it does not wait for one to send the next');
  const ends = sent.map((batch) => batch.at(-1)!);
  asked[2]!.ok();
  asked[1]!.ok();
  await sleep(30);
  t.equal(delivery.delivered(), sent[0]![0]! - 1, 'the first one is missing');
  asked[0]!.ok();
  await sleep(30);
  t.equal(delivery.delivered(), ends[2], 'now all three');
  // The cursor goes to the disk itself, which may take longer.
  t.ok(await until(() => cursor() === ends[2], 5_000, 5), 'and the cursor stands behind them');

  const before = sent.length;
  asked[3]!.fail(new Error('gone'));
  t.ok(await until(() => sent.length > before, 5_000, 5));
  t.equal(sent[before]![0], ends[2]! + 1, 'it goes back to the last that was confirmed, not further');
  t.equal(cursor(), ends[2]);
  // What was asked before the failure says nothing about what is sent again.
  for (const one of asked.slice(4, -1)) one.fail(new Error('late'));
  await until(() => {
    for (const one of asked.slice(4)) one.ok();
    return delivery.delivered() === journal.last();
  }, 5_000);
  t.equal(delivery.delivered(), journal.last());
  await until(() => cursor() === journal.last(), 2_000);
  t.equal(cursor(), journal.last());
  t.strictSame(
    [...new Set(sent.flat())].sort((a, b) => a - b),
    Array.from({ length: journal.last() }, (_, n) => n + 1),
    'all of them were sent',
  );
});

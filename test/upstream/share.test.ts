import fc from 'fast-check';
import t from 'tap';
import { SharedReads, type ShareLimits } from '../../src/upstream/share.js';
import {
  EngineError,
  type Abort,
  type Dispatcher,
  type EngineHandler,
  type EngineRequest,
} from '../../src/upstream/engine-call.js';

// Equal reads that are asked for at once, in front of an engine that does what a test says.

const LIMITS: ShareLimits = { run: 60_000, gathering: 0, answer: 1_000, total: 3_000 };

const request = (
  target = '/containers/json',
  headers: readonly string[] = ['Host', 'docker'],
): EngineRequest => ({
  method: 'GET',
  target,
  headers,
  body: undefined,
  upgrade: '',
  timeout: 0,
  shared: true,
});

/** A call that has reached the engine. */
class Sent {
  readonly request: EngineRequest;
  readonly handler: EngineHandler;
  isAborted = false;
  resumed = 0;

  constructor(sent: EngineRequest, handler: EngineHandler) {
    this.request = sent;
    this.handler = handler;
  }

  head(length = -1): void {
    this.handler.onHeaders(200, ['X', 'y'], length, () => void this.resumed++);
  }

  data(text: string): boolean {
    return this.handler.onData(Buffer.from(text));
  }

  answer(text: string): void {
    this.head();
    this.data(text);
    this.handler.onComplete();
  }

  fail(): void {
    this.handler.onError(new EngineError('ENGINE_CUT', 'cut'));
  }
}

function scripted(limits: Partial<ShareLimits> = {}): { engine: Dispatcher; sent: Sent[] } {
  const sent: Sent[] = [];
  const engine: Dispatcher = {
    dispatch(one, handler) {
      const call = new Sent(one, handler);
      sent.push(call);
      return () => void (call.isAborted = true);
    },
  };
  return { engine: new SharedReads(engine, { ...LIMITS, ...limits }), sent };
}

/** What has come back to one caller. */
class Caller implements EngineHandler {
  body = '';
  pieces = 0;
  status = 0;
  headers: string[] = [];
  ends: string[] = [];
  resume: () => void = () => {};
  readonly abort: Abort;
  /** Takes more after a piece. */
  takes: boolean;

  constructor(engine: Dispatcher, asked = request(), takes = true) {
    this.takes = takes;
    this.abort = engine.dispatch(asked, this);
  }

  onHeaders(status: number, headers: string[], _length: number, resume: () => void): void {
    if (this.status !== 0) this.ends.push('a second head');
    this.status = status;
    this.headers = headers;
    this.resume = resume;
  }

  onData(piece: Buffer): boolean {
    this.pieces++;
    this.body += piece.toString();
    return this.takes;
  }

  onComplete(): void {
    this.ends.push('complete');
  }

  onError(error: Error): void {
    this.ends.push(error.message);
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

t.test('those who ask while a read is on its way share the next one', async (t) => {
  const { engine, sent } = scripted();
  const first = new Caller(engine);
  const later = [new Caller(engine), new Caller(engine)];
  t.equal(sent.length, 1);
  sent[0]!.head();
  sent[0]!.data('old');
  t.equal(first.body, 'old', 'one caller gets it as it comes');
  const last = new Caller(engine);
  sent[0]!.handler.onComplete();
  t.strictSame(first.ends, ['complete']);
  t.equal(sent.length, 2, 'one call for all that waited');
  const after = new Caller(engine);
  sent[1]!.head(3);
  sent[1]!.data('n');
  sent[1]!.data('ew');
  for (const caller of [...later, last])
    t.strictSame([caller.status, caller.ends], [0, []], 'nothing before all of it');
  sent[1]!.handler.onComplete();
  for (const { body, status, ends } of [...later, last]) {
    t.strictSame([body, status, ends], ['new', 200, ['complete']]);
  }
  later[0]!.headers.push('own');
  t.strictSame(later[1]!.headers, ['X', 'y'], 'headers are not shared');
  t.equal(sent.length, 3);
  sent[2]!.answer('newest');
  t.equal(after.body, 'newest');
  new Caller(engine);
  t.equal(sent.length, 4, 'an idle read starts at once');
});

t.test('only equal requests are shared', async (t) => {
  const { engine, sent } = scripted();
  const host = ['Host', 'docker'];
  const different = [
    request(),
    request('/containers/json?all=1'),
    { ...request(), method: 'HEAD' },
    request('/containers/json', [...host, 'X-Registry-Auth', 'a']),
    request('/containers/json', [...host, 'X-Registry-Auth', 'b']),
    request('/containers/json', [...host, 'X-Registry-Auth\na']),
    request('/containers/json', [...host, 'X-Registry-Auth,a', '']),
    request('/containers/json","Host', ['docker']),
  ];
  for (const one of different) new Caller(engine, one);
  t.equal(sent.length, different.length);
  for (const call of sent) t.equal(call.request.shared, false, 'what it sends is not shared again');
});

t.test('an error reaches all callers of its call, and no others', async (t) => {
  const { engine, sent } = scripted();
  const first = new Caller(engine);
  const group = [new Caller(engine), new Caller(engine)];
  sent[0]!.fail();
  t.strictSame(first.ends, ['cut']);
  const after = new Caller(engine);
  sent[1]!.head();
  sent[1]!.data('half');
  sent[1]!.fail();
  for (const { ends, status } of group) t.strictSame([ends, status], [['cut'], 0]);
  sent[2]!.answer('well');
  t.strictSame([after.body, after.ends], ['well', ['complete']]);
});

t.test('what fails at one caller fails at no other', async (t) => {
  const { engine, sent } = scripted();
  new Caller(engine);
  const group = [new Caller(engine), new Caller(engine), new Caller(engine), new Caller(engine)];
  const broken = (): never => {
    throw new Error('broken');
  };
  group[0]!.onHeaders = broken;
  group[1]!.onData = broken;
  group[2]!.onComplete = broken;
  sent[0]!.answer('one');
  sent[1]!.answer('two');
  for (const { ends } of group.slice(0, 3)) t.strictSame(ends, ['broken']);
  t.strictSame(group[3]!.ends, ['complete']);
});

t.test('a caller that leaves', async (t) => {
  const { engine, sent } = scripted();
  const first = new Caller(engine);
  const group = [new Caller(engine), new Caller(engine), new Caller(engine)];
  group[0]!.abort();
  first.abort();
  t.ok(sent[0]!.isAborted, 'the only one');
  t.equal(sent.length, 2, 'the others no longer wait for it');
  group[1]!.abort();
  t.notOk(sent[1]!.isAborted, 'one of two');
  sent[1]!.answer('for one');
  t.equal(group[2]!.body, 'for one');
  group[2]!.abort();
  t.strictSame(
    [group[0]!, group[1]!, first].map(({ ends, status }) => [ends, status]),
    Array(3).fill([[], 0]),
  );

  new Caller(engine);
  const leaving = [new Caller(engine), new Caller(engine)];
  sent[2]!.answer('');
  sent[3]!.head();
  for (const caller of leaving) caller.abort();
  t.ok(sent[3]!.isAborted, 'the last of several');
  const waiting = new Caller(engine);
  t.equal(sent.length, 5, 'nothing is left of it');
  const gone = new Caller(engine);
  gone.abort();
  sent[4]!.answer('x');
  t.equal(waiting.body, 'x');
  t.equal(sent.length, 5, 'nobody waits any more');
});

t.test('a caller that leaves while the answer is handed out', async (t) => {
  const { engine, sent } = scripted();
  new Caller(engine);
  const [one, two] = [new Caller(engine), new Caller(engine)];
  one.onData = () => {
    one.abort();
    two.abort();
    return true;
  };
  sent[0]!.answer('x');
  sent[1]!.head();
  sent[1]!.data('a');
  sent[1]!.data('b');
  sent[1]!.handler.onComplete();
  t.strictSame([one.ends, two.ends, two.status], [[], [], 0]);
  t.notOk(sent[1]!.isAborted);
});

t.test('a single slow caller slows down the engine, and nobody waits for him', async (t) => {
  const { engine, sent } = scripted();
  const slow = new Caller(engine, request(), false);
  const waiting = new Caller(engine);
  sent[0]!.head();
  t.equal(sent[0]!.data('a'), false, 'back-pressure');
  t.equal(sent.length, 2, 'the next call starts beside it');
  sent[1]!.answer('whole');
  t.strictSame([waiting.body, waiting.ends], ['whole', ['complete']]);
  sent[0]!.data('b');
  t.equal(slow.body, 'a', 'what comes nevertheless is kept');
  const late = new Caller(engine);
  t.equal(sent.length, 3);
  slow.resume();
  t.equal(slow.body, 'ab');
  t.equal(sent[0]!.resumed, 0);
  slow.takes = true;
  slow.resume();
  t.equal(sent[0]!.resumed, 1);
  sent[0]!.data('c');
  sent[0]!.handler.onComplete();
  t.strictSame([slow.body, slow.ends], ['abc', ['complete']]);
  sent[2]!.answer('late');
  t.equal(late.body, 'late');

  const held = new Caller(engine, request(), false);
  sent[3]!.head();
  sent[3]!.data('x');
  const beside = new Caller(engine);
  t.equal(sent.length, 5, 'one that is held up already is not waited for');
  sent[4]!.answer('y');
  t.equal(beside.body, 'y');
  t.strictSame(held.ends, []);
});

t.test('each caller takes a collected answer at his own pace', async (t) => {
  const { engine, sent } = scripted();
  new Caller(engine);
  const slow = new Caller(engine, request(), false);
  const quick = new Caller(engine);
  sent[0]!.answer('');
  sent[1]!.head();
  for (const piece of ['a', 'b', 'c']) t.ok(sent[1]!.data(piece), 'the engine is not held up');
  sent[1]!.handler.onComplete();
  t.strictSame([quick.body, quick.ends], ['abc', ['complete']]);
  t.equal(slow.body, 'a');
  slow.resume();
  t.strictSame([slow.body, slow.ends], ['ab', []]);
  slow.resume();
  t.strictSame([slow.body, slow.ends], ['abc', ['complete']]);
  slow.resume();
  t.strictSame(slow.ends, ['complete']);
});

t.test('an answer too large to collect goes on to one caller, the others ask for themselves', async (t) => {
  const { engine, sent } = scripted();
  new Caller(engine);
  const [one, two, three] = [new Caller(engine, request(), false), new Caller(engine), new Caller(engine)];
  sent[0]!.answer('');
  sent[1]!.head();
  t.ok(sent[1]!.data('a'.repeat(600)));
  t.equal(sent[1]!.data('b'.repeat(600)), false);
  t.equal(sent.length, 4);
  t.strictSame([two.status, three.status], [0, 0]);
  t.equal(one.body.length, 600, 'at his own pace');
  one.takes = true;
  one.resume();
  t.equal(one.body.length, 1_200);
  t.equal(sent[1]!.resumed, 1);
  t.ok(sent[1]!.data('c'));
  sent[1]!.handler.onComplete();
  t.strictSame([one.body, one.ends], [`${'a'.repeat(600)}${'b'.repeat(600)}c`, ['complete']]);
  sent[2]!.answer('d'.repeat(5_000));
  sent[3]!.answer('e');
  t.strictSame([two.body.length, two.ends, three.body, three.ends], [5_000, ['complete'], 'e', ['complete']]);

  new Caller(engine);
  const group = [new Caller(engine), new Caller(engine)];
  sent[4]!.answer('');
  sent[5]!.head(1_001);
  t.equal(sent.length, 7, 'one that says so is not begun to be collected');
  t.equal(group[0]!.status, 200);
  group[1]!.abort();
  t.ok(sent[6]!.isAborted);
  t.notOk(sent[5]!.isAborted);
});

t.test('the memory of collected answers is bounded', async (t) => {
  const { engine, sent } = scripted();
  const slow: Caller[] = [];
  for (let i = 0; i < 3; i++) {
    new Caller(engine, request(`/${i}`));
    slow.push(new Caller(engine, request(`/${i}`), false), new Caller(engine, request(`/${i}`)));
    sent.at(-1)!.answer('');
    sent.at(-1)!.head();
    sent.at(-1)!.data('a'.repeat(500));
    sent.at(-1)!.data('a'.repeat(500));
    sent.at(-1)!.handler.onComplete();
  }
  const before = sent.length;
  for (let i = 0; i < 4; i++) new Caller(engine);
  t.equal(sent.length, before + 4, 'nothing is shared while slow callers hold it all');
  slow[0]!.resume();
  slow[2]!.abort();
  for (let i = 0; i < 4; i++) new Caller(engine, request('/x'));
  t.equal(sent.length, before + 5, 'what they have, or no longer want, is free again');
  const last = sent.at(-1)!;
  last.answer('');
  const group = sent.at(-1)!;
  group.head();
  t.ok(group.data('a'.repeat(1_000)));
  group.handler.onComplete();
  slow[4]!.resume();
  t.strictSame(slow[4]!.ends, ['complete']);
});

t.test('nobody waits long for a call that takes long', async (t) => {
  const { engine, sent } = scripted({ run: 30 });
  const first = new Caller(engine);
  const waiting = [new Caller(engine), new Caller(engine)];
  await sleep(10);
  t.equal(sent.length, 1);
  await sleep(60);
  t.equal(sent.length, 2, 'one call for all that waited, beside the first');
  sent[1]!.answer('new');
  for (const { body } of waiting) t.equal(body, 'new');
  sent[0]!.answer('old');
  t.equal(first.body, 'old');
  t.equal(sent.length, 2);
});

t.test('those who were answered together and ask again share a call again', async (t) => {
  const { engine, sent } = scripted({ gathering: 60_000 });
  const ask = (count: number): Caller[] => Array.from({ length: count }, () => new Caller(engine));
  ask(4);
  sent[0]!.answer('');
  t.equal(sent.length, 2, 'after a single one nobody is waited for');
  await sleep(40);
  const straggler = new Caller(engine);
  sent[1]!.answer('');
  t.equal(sent.length, 2);
  ask(2);
  t.equal(sent.length, 2);
  ask(1);
  t.equal(sent.length, 3, 'those who were answered, and those who waited');
  await sleep(40);
  sent[2]!.answer('last');
  t.equal(straggler.body, 'last');
  const [gone, late] = ask(2);
  gone!.abort();
  t.equal(sent.length, 3);
  await sleep(120);
  t.equal(sent.length, 4, 'no longer than the call took');
  sent[3]!.answer('late');
  t.equal(late!.body, 'late');

  ask(3);
  sent[4]!.answer('');
  await sleep(20);
  sent[5]!.answer('');
  await sleep(100);
  ask(1);
  t.equal(sent.length, 7, 'nobody came: the next one starts at once');
});

t.test('a read that is asked for after a change was answered sees it', async () => {
  const delay = fc.integer({ min: 0, max: 4 });
  const step = fc.record({
    wait: delay,
    kind: fc.constantFrom('change', 'read', 'read', 'read', 'slow', 'leave'),
    engine: fc.tuple(delay, delay, delay),
    fails: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    size: fc.constantFrom(1, 1, 1, 700, 2_000),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      let version = 0;
      let calls = 0;
      const model: Dispatcher = {
        dispatch(_request, handler) {
          const { engine: delays, fails, size } = steps[calls++ % steps.length]!;
          let isAborted = false;
          const on = (act: () => void): void => void (isAborted || act());
          void (async () => {
            await sleep(delays[0]);
            const seen = version;
            await sleep(delays[1]);
            on(() => handler.onHeaders(200, [], -1, () => {}));
            on(() => void handler.onData(Buffer.from(`${seen} `)));
            on(() => void handler.onData(Buffer.from('.'.repeat(size))));
            await sleep(delays[2]);
            on(() => (fails ? handler.onError(new Error('fails')) : handler.onComplete()));
          })();
          return () => void (isAborted = true);
        },
      };
      const engine = new SharedReads(model, { run: 6, gathering: 3, answer: 1_000, total: 2_000 });
      const callers: { caller: Caller; asked: number; kind: string }[] = [];
      for (const { wait, kind } of steps) {
        if (wait > 1) await sleep(wait - 1);
        if (kind === 'change') version++;
        else {
          const caller = new Caller(engine, request(), kind !== 'slow');
          callers.push({ caller, asked: version, kind });
          if (kind === 'leave') setTimeout(caller.abort, wait);
        }
      }
      // Callers of answers that are too large to collect are served one after the other: a slow machine takes its time.
      for (let i = 0; i < 2_000; i++) {
        for (const { caller } of callers) caller.resume();
        if (callers.every(({ caller, kind }) => kind === 'leave' || caller.ends.length > 0)) break;
        await sleep(5);
      }
      for (const { caller, asked, kind } of callers) {
        if (kind !== 'leave' && caller.ends.length !== 1) throw new Error(`ends: ${caller.ends.join(', ')}`);
        if (caller.ends.length > 1) throw new Error('two ends');
        if (caller.body !== '' && Number.parseInt(caller.body, 10) < asked) {
          throw new Error(`asked at ${asked}, answered with ${caller.body.slice(0, 5)}`);
        }
        if (caller.ends[0] === 'complete' && !/^\d+ \.+$/.test(caller.body)) throw new Error('not whole');
      }
    }),
    { numRuns: 60 },
  );
});

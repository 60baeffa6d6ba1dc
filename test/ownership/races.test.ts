import type { Socket } from 'node:net';
import t from 'tap';
import { unpaired } from '../guard/guarded.js';
import { sleep, until } from '../support/command.js';
import { json, type Arrived } from '../support/recording-upstream.js';
import { RESET, talk, type Part } from '../support/raw.js';
import { file, tar } from '../support/tar.js';
import { answer, guardBefore, http, id, isQuestion, ofA } from './guard-before.js';

// What happens on the engine while a call of an owner is on its way, as bytes in front of an engine that answers when the
// test says so.

const ALPINE = { Id: `sha256:${id('1')}`, RepoTags: ['alpine:latest'], Config: { Labels: null } };
const BASICS = {
  '/images/alpine/json': ALPINE,
  '/images/alpine:latest/json': ALPINE,
  '/volumes/avol': { Name: 'avol', Labels: ofA },
  '/volumes/other': { Name: 'other', Labels: ofA },
};

await t.test(
  'a volume that is being removed is nobody’s to use, not even for another call of its owner',
  async (t) => {
    const create = (volume: string): Buffer =>
      http(
        'POST',
        '/containers/create',
        JSON.stringify({ Image: 'alpine', HostConfig: { Binds: [`${volume}:/data`] } }),
      );
    const remove = (volume: string): Buffer => http('DELETE', `/volumes/${volume}`);
    for (const [name, first, second, waits] of [
      ['a removal, then a container with it', remove('avol'), create('avol'), true],
      ['a container with it, then its removal', create('avol'), remove('avol'), true],
      ['two removals', remove('avol'), remove('avol'), true],
      ['a removal, then a container with another one', remove('avol'), create('other'), false],
      ['two containers with it', create('avol'), create('avol'), false],
    ] as const) {
      let going: Socket | undefined;
      const guarded = await guardBefore(BASICS, (request, socket) => {
        if (going === undefined) going = socket;
        else json()(request, socket);
      });
      const one = talk(guarded.tcp, [first], { timeout: 8_000 });
      t.ok(await until(() => going !== undefined, 4_000), `${name}: the first is with the engine`);
      guarded.upstream.forget();
      const other = talk(guarded.tcp, [second], { timeout: 8_000 });
      if (waits) await sleep(250);
      else t.equal((await other).answers[0]?.status, 200);
      t.equal(
        guarded.upstream.requests.length,
        waits ? 0 : 1,
        `${name}: ${waits ? 'the second waits' : 'both at once'}`,
      );
      json()({ call: 'X' } as Arrived, going!);
      t.equal((await one).answers[0]?.status, 200);
      t.equal((await other).answers[0]?.status, 200, `${name}: and then goes on`);
    }
  },
);

await t.test(
  'one decision for a build, whatever happens while the engine is asked whose its base is',
  async (t) => {
    const build = http('POST', '/build?t=app', tar(file('Dockerfile', 'FROM alpine\n')), 'application/x-tar');
    for (const [name, happens] of [
      ['the client leaves', 'leave'],
      ['the engine refuses the build', 'refuse'],
      ['the engine breaks off', 'break'],
      ['nothing', 'nothing'],
    ] as const) {
      const asked: Socket[] = [];
      let uploading: Socket | undefined;
      const guarded = await guardBefore({}, json());
      guarded.upstream.behave = (request, socket) => {
        if (!isQuestion(request)) json()(request, socket);
        else if (request.call.includes('alpine')) asked.push(socket);
        else answer(socket, 404, { message: 'no such image' });
      };
      guarded.upstream.onHead = (request, socket) => {
        if (request.call.startsWith('POST /build')) uploading = socket;
        return false;
      };
      const parts: Part[] = happens === 'leave' ? [build, 400, RESET] : [build];
      const talking = talk(guarded.tcp, parts, { timeout: 4_000 });
      t.ok(
        await until(() => asked.length > 0 && uploading !== undefined, 4_000),
        `${name}: the engine is asked`,
      );
      if (happens === 'leave') await talking;
      if (happens === 'refuse') json(400, '{"message":"no"}')({ call: 'X' } as Arrived, uploading!);
      if (happens === 'break') uploading!.destroy();
      await sleep(150);
      for (const socket of asked) answer(socket, 200, ALPINE);
      await talking;
      await until(() => guarded.auditText().includes('"outcome"'), 2_000);
      // Time for a line too many.
      await sleep(150);
      t.same(unpaired(guarded.auditText()), [], `${name}: one decision, one outcome`);
      const decisions = guarded
        .audit()
        .filter(({ event, operation }) => event === 'decision' && operation === 'ImageBuild');
      t.equal(decisions.length, 1, `${name}: ${decisions.map(({ code }) => code).join()}`);
      t.equal(decisions[0]?.verdict, happens === 'leave' || happens === 'refuse' ? 'deny' : 'allow', name);
    }
  },
);

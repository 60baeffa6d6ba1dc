import t, { type Test } from 'tap';
import { sleep } from '../support/command.js';
import { get, missing, startEngine, type Answer, type Engine } from '../support/engine.js';
import { selfCheck } from '../support/guard.js';
import { startRegistry } from '../support/registry.js';
import { file, tar } from '../support/tar.js';
import { everythingButOthers, startTeams, type Team, type Teams } from '../support/teams.js';

// How one team would get at the objects of the other: builds, forged labels, pulls, and names that are given to something
// else between the check and the use.

const OWNER = 'breakwater.owner';

async function main(): Promise<void> {
  t.setTimeout(300_000);
  const engine = await startEngine();
  t.teardown(() => engine.stop());
  const teams = await startTeams(engine, everythingButOthers());
  t.teardown(() => teams.stop());
  const scene = (
    name: string,
    play: (t: Test, engine: Engine, teams: Teams) => Promise<void>,
  ): Promise<unknown> => t.test(name, (t) => play(t, engine, teams));
  await scene('builds', builds);
  await scene('labels that a client writes', labels);
  await scene('labels that an image brings', inherited);
  await scene('pulled images', pulls);
  await scene('what is not there and what is hidden look the same', looks);
  await scene('race: a volume', volumeRace);
  await scene('race: a tag', tagRace);
  await scene('race: a container that is renamed', nameRace);
  await scene('race: a network taken over before the start', networkRace);
}

const text = ({ body }: Answer): string => body.toString();
const idOf = (answer: Answer): string => {
  if (answer.status >= 300) throw new Error(`${answer.status} ${text(answer)}`);
  return String((JSON.parse(text(answer)) as { Id?: string }).Id);
};
const look = async (engine: Engine, path: string): Promise<Record<string, never>> =>
  JSON.parse(text(await get(engine.socket, path))) as Record<string, never>;

const create = (team: Team, body: object, name = ''): Promise<Answer> =>
  team.send('POST', `/containers/create${name === '' ? '' : `?name=${name}`}`, {
    Image: 'alpine',
    Cmd: ['sleep', '300'],
    ...body,
  });

const build = (team: Team, dockerfile: string, query: string): Promise<Answer> =>
  team.send('POST', `/build?${query}`, tar(file('Dockerfile', dockerfile)));

const built = (answer: Answer): boolean =>
  answer.status === 200 && text(answer).includes('Successfully built');

async function imageId(engine: Engine, name: string): Promise<string> {
  return String((await look(engine, `/images/${name}/json`))['Id'] ?? '');
}

async function builds(t: Test, engine: Engine, { a, b }: Teams): Promise<void> {
  t.ok(built(await build(b, 'FROM alpine\nRUN echo b-secret > /secret\n', 't=b/private:1')), 'own build');
  const id = await imageId(engine, 'b/private:1');
  t.ok(built(await build(a, 'FROM alpine\nRUN echo mine > /mine\n', 't=a/base:1')));
  t.ok(
    built(await build(a, 'FROM a/base:1\nCOPY --from=a/base:1 /mine /again\n', 't=a/next:1')),
    'from an own image',
  );
  const denied: [string, string, string][] = [
    ['FROM', 'FROM b/private:1\nRUN cat /secret\n', 't=a/x:1'],
    ['FROM an id', `FROM ${id}\nRUN cat /secret\n`, 't=a/x:1'],
    ['FROM a short id', `FROM ${id.slice(7, 19)}\nRUN cat /secret\n`, 't=a/x:1'],
    ['FROM a build argument', 'ARG X=b/private:1\nFROM ${X}\nRUN cat /secret\n', 't=a/x:1'],
    ['COPY --from', 'FROM alpine\nCOPY --from=b/private:1 /secret /s\nRUN cat /s\n', 't=a/x:1'],
    [
      'a stage that is not the last',
      'FROM b/private:1 AS one\nFROM alpine\nCOPY --from=one /secret /s\n',
      't=a/x:1',
    ],
    ['over the tag', 'FROM alpine\nRUN echo evil > /evil\n', 't=b/private:1'],
    ['over the tag, second', 'FROM alpine\nRUN echo evil > /evil\n', 't=a/x:1&t=docker.io/b/private:1'],
    ['over a tag that nobody owns', 'FROM alpine\nRUN echo evil > /evil\n', 't=alpine'],
    ['the cache of it', 'FROM alpine\nRUN echo b-secret > /secret\n', 't=a/x:1&cachefrom=["b/private:1"]'],
  ];
  const alpine = await imageId(engine, 'alpine');
  for (const [what, dockerfile, query] of denied) {
    const answer = await build(a, dockerfile, query);
    t.notOk(built(answer), what);
    t.notMatch(text(answer), 'b-secret', what);
  }
  t.equal((await get(engine.socket, '/images/a/x:1/json')).status, 404, 'nothing was built');

  // The steps of a classic build bear no label: whoever tries all beginnings of ids would find what they hold.
  const all = JSON.parse(text(await get(engine.socket, '/images/json?all=1'))) as {
    Id: string;
    RepoTags: string[] | null;
    Labels: Record<string, string> | null;
  }[];
  const steps = all.filter(
    ({ RepoTags, Labels }) => (RepoTags ?? []).join() === '<none>:<none>' && !Labels?.[OWNER],
  );
  t.ok(steps.length > 0, 'there are such steps');
  for (const step of steps.map(({ Id }) => Id.slice(7))) {
    for (const name of [step.slice(0, 5), step.slice(0, 12), `sha256:${step}`]) {
      t.equal((await a.send('GET', `/images/${name}/json`)).status, 404, `look at ${name}`);
      t.equal((await create(a, { Image: name })).status, 404, `run ${name}`);
      t.notOk(built(await build(a, `FROM ${name}\nRUN cat /secret\n`, 't=a/x:1')), `build from ${name}`);
    }
  }
  t.equal(await imageId(engine, 'b/private:1'), id);
  t.equal(await imageId(engine, 'alpine'), alpine);
}

async function labels(t: Test, engine: Engine, { a, b }: Teams): Promise<void> {
  // Even the other team's real label, should it ever get known.
  const theirs = String((await look(engine, '/images/b/private:1/json'))['Config']?.['Labels']?.[OWNER]);
  t.match(theirs, /^team-b\.[0-9a-f]{32}$/);
  const Labels = { [OWNER]: theirs, other: 'kept' };
  const ownerOf = async (path: string): Promise<unknown> => {
    const { Labels: top, Config, Spec } = await look(engine, path);
    const found = (top ?? Config?.['Labels'] ?? Spec?.['Labels']) as unknown as Record<string, string>;
    return `${found[OWNER]?.split('.', 1)[0]} ${found['other']}`;
  };
  const container = idOf(await create(a, { Labels }));
  t.equal(await ownerOf(`/containers/${container}/json`), 'team-a kept');
  await a.send('POST', '/volumes/create', { Name: 'forged', Labels });
  t.equal(await ownerOf('/volumes/forged'), 'team-a kept');
  const network = idOf(await a.send('POST', '/networks/create', { Name: 'forged', Labels }));
  t.equal(await ownerOf(`/networks/${network}`), 'team-a kept');
  await build(a, `FROM alpine\nLABEL ${OWNER}="${theirs}" other=kept\n`, 't=a/forged:1');
  t.equal(await ownerOf('/images/a/forged:1/json'), 'team-a kept', 'a LABEL of the Dockerfile');
  await build(
    a,
    'FROM alpine\nLABEL other=kept\n',
    `t=a/forged:2&labels=${encodeURIComponent(JSON.stringify(Labels))}`,
  );
  t.equal(await ownerOf('/images/a/forged:2/json'), 'team-a kept', 'labels of a build');
  const commit = (changes: string): Promise<Answer> =>
    a.send(
      'POST',
      `/commit?container=${container}&repo=a/forged&tag=3&changes=${encodeURIComponent(changes)}`,
    );
  for (const changes of [
    `LABEL ${OWNER}=${theirs}`,
    'ENV a=b \\',
    'RUN <<EOF',
    `ENV a=b\nLABEL ${OWNER}=x`,
    'ONBUILD RUN x',
  ]) {
    t.match(await commit(changes), { status: 403 }, `commit with ${JSON.stringify(changes)}`);
  }
  t.equal((await commit('ENV a=b')).status, 201);
  t.equal(await ownerOf('/images/a/forged:3/json'), 'team-a kept', 'a commit');
  const layer = tar(file('x', 'y'));
  const load = (changes: string): Promise<Answer> =>
    a.send(
      'POST',
      `/images/create?fromSrc=-&repo=a/forged&tag=4&changes=${encodeURIComponent(changes)}`,
      layer,
    );
  t.equal((await load(`LABEL ${OWNER}=${theirs}`)).status, 403);
  t.equal((await load('ENV a=b')).status, 200);
  t.equal(await ownerOf('/images/a/forged:4/json'), 'team-a undefined', 'an import');

  const filters = encodeURIComponent(JSON.stringify({ label: [`${OWNER}=${theirs}`] }));
  const asMap = encodeURIComponent(JSON.stringify({ label: { [`${OWNER}=${theirs}`]: true } }));
  const own = idOf(await create(b, {}, 'b-listed'));
  for (const given of [filters, asMap]) {
    t.notMatch(
      text(await a.send('GET', `/containers/json?all=1&filters=${given}`)),
      own,
      'a filter for the other label',
    );
  }
  for (const id of [container, own]) await get(engine.socket, `/containers/${id}/json`);
}

async function inherited(t: Test, engine: Engine, { a, b, admin }: Teams): Promise<void> {
  // A container has the labels of its image: one that an administrator makes from a team's image is not the team's.
  const id = idOf(
    await admin('POST', '/containers/create?name=of-admin', { Image: 'b/private:1', Cmd: ['true'] }),
  );
  t.equal((await b.send('GET', `/containers/${id}/json`)).status, 404);
  t.notMatch(text(await b.send('GET', '/containers/json?all=1')), id);
  t.match(text(await admin('GET', '/containers/json?all=1')), id, 'who is not limited sees all');
  // And one of team-a's own making, from an image of theirs that says it is team-b's.
  const theirs = String((await look(engine, '/images/b/private:1/json'))['Config']?.['Labels']?.[OWNER]);
  const made = theirs.replace(/\.[0-9a-f]{32}$/, `.${'0'.repeat(32)}`);
  const registry = await startRegistry();
  t.teardown(() => registry.close());
  registry.put('gift', '1', { [OWNER]: made });
  await a.send('POST', `/images/create?fromImage=${registry.host}/gift&tag=1`);
  t.notMatch(text(await b.send('GET', '/images/json')), 'gift', 'a made-up label says nothing');
  t.match(text(await a.send('GET', '/images/json')), 'gift');
  const container = idOf(await create(a, { Image: `${registry.host}/gift:1` }));
  t.equal((await b.send('GET', `/containers/${container}/json`)).status, 404);
  t.equal((await a.send('GET', `/containers/${container}/json`)).status, 200);
}

async function pulls(t: Test, engine: Engine, teams: Teams): Promise<void> {
  const { a, b } = teams;
  const registry = await startRegistry();
  t.teardown(() => registry.close());
  const pull = (team: Team, name: string): Promise<Answer> =>
    team.send('POST', `/images/create?fromImage=${registry.host}/${name.replace(':', '&tag=')}`);
  const id = registry.put('lib/tool', '1');
  const name = `${registry.host}/lib/tool:1`;
  t.match(text(await pull(a, 'lib/tool:1')), 'Downloaded newer image');
  t.equal((await a.send('GET', `/images/${name}/json`)).status, 200, 'at once');
  t.match(text(await a.send('GET', '/images/json')), id);
  t.equal((await create(a, { Image: name })).status, 201);
  t.equal((await b.send('GET', `/images/${name}/json`)).status, 404, 'it is not the other team’s');
  t.equal((await create(b, { Image: id })).status, 404);
  t.notMatch(text(await b.send('GET', '/images/json')), id);
  await teams.restart();
  t.equal((await a.send('GET', `/images/${name}/json`)).status, 200, 'after a restart');
  t.equal((await b.send('GET', `/images/${name}/json`)).status, 404);

  t.match(text(await pull(b, 'lib/tool:1')), 'Image is up to date');
  t.equal((await create(b, { Image: name })).status, 201, 'who pulls it too has it too');
  t.equal(
    (await a.send('DELETE', `/images/${name}?force=1`)).status,
    403,
    'and nobody removes it from under the other',
  );
  t.equal((await a.send('POST', `/images/a/base:1/tag?repo=${registry.host}/lib/tool&tag=1`)).status, 403);

  // 20.10 cuts a digest off the name, and moves the tag (newer engines refuse it).
  const before = await imageId(engine, 'b/private:1');
  const digest = encodeURIComponent(`b/private@sha256:${'0'.repeat(64)}`);
  t.equal((await a.send('POST', `/images/a/base:1/tag?repo=${digest}&tag=1`)).status, 403);
  t.equal(await imageId(engine, 'b/private:1'), before, 'the tag stays where it is');

  // Without a tag engines save all of them: one of one's own under the same name must not open the others.
  t.equal((await a.send('POST', '/images/a/base:1/tag?repo=b/private&tag=latest')).status, 201, 'it is free');
  for (const path of [
    '/images/b/private/get',
    '/images/get?names=b/private',
    '/images/get?names=a/base:1&names=b/private',
  ])
    t.not((await a.send('GET', path)).status, 200, path);
  t.equal((await a.send('GET', '/images/b/private:latest/get')).status, 200);
  t.equal((await b.send('GET', '/images/b/private:1/get')).status, 200);
  t.equal((await a.send('DELETE', '/images/b/private:latest')).status, 200);

  // A trailing colon is dropped by engines; the tag of what team-b has built there would move.
  const built = `${registry.host}/b/built`;
  t.equal((await b.send('POST', `/images/b/private:1/tag?repo=${built}&tag=1`)).status, 201);
  registry.put('b/built', '1');
  for (const query of [`fromImage=${built}:&tag=1`, `fromImage=${built}:`, `fromImage=${built}:1`]) {
    t.equal((await a.send('POST', `/images/create?${query}`)).status, 403, query);
    t.equal(await imageId(engine, `${built}:1`), before);
  }

  // A registry of the attacker's names an image that it does not have; the engine takes the one it has itself.
  const secret = await imageId(engine, 'b/private:1');
  const layers = (await look(engine, '/images/b/private:1/json'))['RootFS']?.[
    'Layers'
  ] as unknown as string[];
  registry.putForged('trick', '1', secret, layers);
  t.match(
    text(await pull(a, 'trick:1')),
    /Status: (?:Downloaded|Image is up to date)/,
    'the engine falls for it',
  );
  t.equal((await a.send('GET', `/images/${registry.host}/trick:1/json`)).status, 404, 'the guard does not');
  t.equal((await create(a, { Image: `${registry.host}/trick:1` })).status, 404);
  t.notMatch(text(await a.send('GET', '/images/json?all=1')), secret);
}

async function looks(t: Test, _engine: Engine, { a, b }: Teams): Promise<void> {
  idOf(await create(b, { HostConfig: { Privileged: true } }, 'b-hidden'));
  idOf(await b.send('POST', '/networks/create', { Name: 'b-hidden' }));
  await b.send('POST', '/volumes/create', { Name: 'b-hidden' });
  const calls: [string, string, ((name: string) => object)?][] = [
    ['GET', '/containers/NAME/json'],
    ['POST', '/containers/NAME/start'],
    ['POST', '/containers/NAME/exec', () => ({ Cmd: ['id'] })],
    ['DELETE', '/containers/NAME?force=1'],
    ['GET', '/networks/NAME'],
    ['DELETE', '/networks/NAME'],
    ['GET', '/volumes/NAME'],
    [
      'POST',
      '/containers/create',
      (name) => ({ Image: 'alpine', HostConfig: { VolumesFrom: [name], Privileged: true } }),
    ],
    [
      'POST',
      '/containers/create',
      (name) => ({ Image: 'alpine', HostConfig: { NetworkMode: `container:${name}` } }),
    ],
    ['POST', '/containers/create', (name) => ({ Image: 'alpine', HostConfig: { NetworkMode: name } })],
  ];
  for (const [method, path, body] of calls) {
    const ask = async (name: string): Promise<string> => {
      const answer = await a.send(method, path.replace('NAME', name), body?.(name));
      return `${answer.status} ${text(answer)}`.replaceAll(name, 'NAME').replace(/\(call [^)]*\)/, '');
    };
    t.equal(await ask('b-hidden'), await ask('b-absent'), `${method} ${path}`);
  }
}

/** All sides at once, within some milliseconds, as often as given; an attempt may fail, what it finds is counted. */
async function rounds(count: number, ...sides: (() => Promise<unknown>)[]): Promise<void> {
  for (let n = 0; n < count; n++) {
    const attempt = async (side: () => Promise<unknown>): Promise<unknown> => {
      await sleep(Math.random() * 30);
      return side().catch(() => undefined);
    };
    await Promise.all(sides.map(attempt));
  }
}

async function volumeRace(t: Test, engine: Engine, { a, b }: Teams): Promise<void> {
  let [made, stolen, ofB] = [0, 0, 0];
  const ownerOfVolume = async (): Promise<string> =>
    String((await look(engine, '/volumes/raced'))['Labels']?.[OWNER] ?? '').split('.', 1)[0]!;
  await rounds(
    60,
    async () => {
      const answer = await create(a, { HostConfig: { Binds: ['raced:/mnt'] } });
      if (answer.status !== 201) return;
      made += 1;
      // As long as there is the container, its volume cannot be another one.
      if ((await ownerOfVolume()) !== 'team-a') stolen += 1;
      await a.send('DELETE', `/containers/${idOf(answer)}?force=1`);
    },
    () => a.send('DELETE', '/volumes/raced?force=1'),
    async () => {
      const answer = await b.send('POST', '/volumes/create', { Name: 'raced' });
      if (answer.status !== 201) return;
      ofB += 1;
      if (!text(answer).includes('team-b.')) stolen += 1;
    },
    () => b.send('DELETE', '/volumes/raced'),
  );
  t.equal(stolen, 0, `${made} containers of one team and ${ofB} volumes of the other, of one name`);
  t.ok(made > 0 && ofB > 0, 'both had their turns');
  await b.send('DELETE', '/volumes/raced');
}

async function tagRace(t: Test, engine: Engine, { a, b }: Teams): Promise<void> {
  const secret = await imageId(engine, 'b/private:1');
  let [made, stolen, ofB] = [0, 0, 0];
  await rounds(
    60,
    async () => {
      const answer = await create(a, { Image: 'raced:1' });
      if (answer.status !== 201) return;
      made += 1;
      const id = idOf(answer);
      if ((await look(engine, `/containers/${id}/json`))['Image'] === (secret as never)) stolen += 1;
      await a.send('DELETE', `/containers/${id}?force=1`);
    },
    () => a.send('POST', '/images/a/base:1/tag?repo=raced&tag=1'),
    () => a.send('DELETE', '/images/raced:1'),
    async () => {
      if ((await b.send('POST', '/images/b/private:1/tag?repo=raced&tag=1')).status === 201) ofB += 1;
    },
    () => b.send('DELETE', '/images/raced:1'),
  );
  t.equal(stolen, 0, `${made} containers of one team, ${ofB} tags of the other`);
  t.ok(made > 0 && ofB > 0, 'both had their turns');
  t.equal(await imageId(engine, 'b/private:1'), secret);
}

async function nameRace(t: Test, engine: Engine, { a, b }: Teams): Promise<void> {
  const victim = idOf(await create(b, {}, 'race-b'));
  await b.send('POST', `/containers/${victim}/start`);
  const bait = idOf(await create(a, {}, 'race-a'));
  let [hits, ofB] = [0, 0];
  const rename = (team: Team, id: string, name: string): Promise<Answer> =>
    team.send('POST', `/containers/${id}/rename?name=${name}`);
  await rounds(
    60,
    async () => {
      await rename(a, bait, 'race-target');
      await rename(a, bait, 'race-a');
    },
    async () => {
      if ((await rename(b, victim, 'race-target')).status === 204) ofB += 1;
      await rename(b, victim, 'race-b');
    },
    async () => {
      for (let n = 0; n < 4; n++) {
        const { status } = await a.send('POST', '/containers/race-target/kill');
        // 409: it is the bait, which does not run.
        if (status === 409) hits += 1;
      }
    },
  );
  const { State } = await look(engine, `/containers/${victim}/json`);
  t.equal(
    State?.['Running'],
    true as never,
    `${hits} kills were about the own one; ${ofB} times the name was the other's`,
  );
  t.ok(ofB > 0);
}

async function networkRace(t: Test, engine: Engine, { a, b }: Teams): Promise<void> {
  let [joined, tried] = [0, 0];
  for (let n = 0; n < 15; n++) {
    const name = `squatted-${n}`;
    const mine = idOf(await a.send('POST', '/networks/create', { Name: name }));
    const id = idOf(await create(a, { HostConfig: { NetworkMode: name } }));
    await a.send('DELETE', `/networks/${mine}`);
    const theirs = b.send('POST', '/networks/create', { Name: name });
    // At the same time, and afterwards.
    await Promise.all([
      theirs,
      ...Array.from({ length: 4 }, () => a.send('POST', `/containers/${id}/start`)),
    ]);
    const { status } = await a.send('POST', `/containers/${id}/start`);
    if (status !== 204 && status !== 304) tried += 1;
    const network = await look(engine, `/networks/${idOf(await theirs)}`);
    if (JSON.stringify(network['Containers'] ?? {}).includes(id)) joined += 1;
    await a.send('DELETE', `/containers/${id}?force=1`);
  }
  t.equal(joined, 0, 'no container is in a network of the other team');
  t.equal(tried, 15);
}

const skip = missing({ cli: true }) ?? (selfCheck ? 'self-check: nothing is denied by a relay' : undefined);
if (skip !== undefined) {
  t.comment(skip);
  t.plan(0, skip);
} else {
  await main();
}

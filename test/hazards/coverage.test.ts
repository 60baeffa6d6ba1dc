import t from 'tap';
import { OPERATIONS } from '../../src/docker/catalogue.js';
import type { JsonObject, JsonValue } from '../../src/base/json.js';
import type { Schema } from '../../src/docker/schema.js';
import { resolveSchema } from '../../src/docker/schemas.js';
import { FACTS } from '../../src/hazards/catalogue.js';
import { inspect, INSPECTORS } from '../../src/hazards/inspect.js';
import { makeCall } from './make-call.js';

/** A value of this type in which nothing is zero, so that every field of it is met. */
function filled(schema: Schema): JsonValue {
  const type = resolveSchema(schema);
  switch (type.type) {
    case 'boolean':
      return true;
    case 'integer':
    case 'float':
      return 1;
    case 'string':
    case 'bytes':
    case 'any':
      return 'x';
    case 'strslice':
      return ['x'];
    case 'array':
      return [filled(type.items)];
    case 'map':
      return { x: filled(type.values) };
    case 'object':
      return Object.fromEntries(Object.entries(type.fields).map(([key, field]) => [key, filled(field)]));
    case 'ref':
      throw new Error('resolveSchema follows references');
  }
}

void t.test('every field that the schemas know has an inspector', (t) => {
  for (const { id, body } of OPERATIONS) {
    if (body.kind !== 'json') continue;
    const value = filled(body.schema) as JsonObject;
    const unknown = inspect(makeCall(id, { body: value })).hazards.filter(
      ({ kind }) => kind === 'unknown-field',
    );
    t.same(unknown, [], id);
  }
  t.end();
});

void t.test(
  'every operation with a body has an inspector, but for those that can do no harm with it',
  (t) => {
    // ExecStart: whether to detach and the size of the terminal. What runs was decided by ContainerExec.
    const without = OPERATIONS.filter(({ id, body }) => body.kind !== 'none' && !INSPECTORS.has(id));
    t.same(
      without.map(({ id }) => id),
      ['ExecStart'],
    );
    t.end();
  },
);

void t.test('inspectors and facts name operations that exist', (t) => {
  const known = new Set<string>(OPERATIONS.map(({ id }) => id));
  t.same(
    [...INSPECTORS.keys()].filter((id) => !known.has(id)),
    [],
  );
  for (const { name, operations } of FACTS) {
    t.same(
      operations.filter((id: string) => id !== '*' && !known.has(id)),
      [],
      name,
    );
  }
  t.end();
});

void t.test('parameters that inspectors read exist, with the type they expect', (t) => {
  const rows = {
    ImageBuild:
      'remote:string networkmode:string extrahosts:strings cgroupparent:string securityopt:strings isolation:string ' +
      'ulimits:json buildargs:json labels:json cachefrom:json version:string session:string buildid:string outputs:json ' +
      't:strings dockerfile:string platform:string target:string pull:boolean memory:integer',
    ImageCreate: 'fromImage:string fromSrc:string repo:string tag:string changes:strings platform:string',
    ImageCommit: 'container:string repo:string tag:string changes:strings',
    ImageGetAll: 'names:strings',
    ContainerAttach: 'stdin:boolean',
    ContainerAttachWebsocket: 'stdin:boolean',
    ContainerTop: 'ps_args:string',
    ContainerStart: 'checkpoint:string checkpoint-dir:string',
    ContainerCreate: 'name:string platform:string',
    PutContainerArchive: 'path:string',
    ServiceUpdate: 'rollback:string',
    PluginPull: 'remote:string name:string',
    PluginUpgrade: 'remote:string',
    GetPluginPrivileges: 'remote:string',
    ImageSearch: 'term:string',
    CheckpointDelete: 'dir:string',
  };
  for (const [id, parameters] of Object.entries(rows)) {
    const operation = OPERATIONS.find((candidate) => candidate.id === id);
    for (const parameter of parameters.split(' ')) {
      const [name = '', type] = parameter.split(':');
      t.equal(operation?.query[name]?.type, type, `${id} ${name}`);
    }
  }
  t.end();
});

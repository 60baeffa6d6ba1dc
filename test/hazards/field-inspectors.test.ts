import t from 'tap';
import { inspect } from '../../src/hazards/inspect.js';
import { formatHazard } from '../../src/hazards/inspection.js';
import { create, service } from './make-call.js';

const raised = (call: Parameters<typeof inspect>[0]): string[] =>
  inspect(call).hazards.map(formatHazard).sort();

void t.test('a field without an inspector is a hazard, wherever it is', (t) => {
  t.same(raised(create({ Mounts: [{ Type: 'tmpfs', Target: '/t', 'a/b~c': 1 }] })), [
    'unknown-field:/HostConfig/Mounts/0/a~1b~0c',
  ]);
  t.same(raised(create({ constructor: 'x', toString: 'y', Foo: {}, Bar: null, Baz: 0 })), [
    'unknown-field:/HostConfig/constructor',
    'unknown-field:/HostConfig/toString',
  ]);
  t.same(raised(service({}, { Novel: true })), ['unknown-field:/TaskTemplate/Novel']);
  t.end();
});

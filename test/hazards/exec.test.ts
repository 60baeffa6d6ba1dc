import t from 'tap';
import { inspect } from '../../src/hazards/inspect.js';
import { formatHazard } from '../../src/hazards/inspection.js';
import { makeCall } from './make-call.js';

// Variables that make any program load code, one by one: the dynamic loader's, those of the C library, the shell's.

const raised = (...Env: string[]): string[] =>
  inspect(makeCall('ContainerExec', { path: { id: 'c' }, body: { Cmd: ['true'], Env } })).hazards.map(
    formatHazard,
  );

void t.test('each variable that loads code', (t) => {
  for (const name of [
    ...[
      'LD_PRELOAD',
      'LD_LIBRARY_PATH',
      'LD_AUDIT',
      'LD_DEBUG',
      'LD_DEBUG_OUTPUT',
      'LD_ORIGIN_PATH',
      'LD_PROFILE',
    ],
    ...['LD_HWCAP_MASK', 'LD_BIND_NOW', 'LD_', 'GCONV_PATH', 'GLIBC_TUNABLES', 'BASH_ENV'],
  ]) {
    t.same(raised(`${name}=x`), [`exec-env:${name}`], name);
    t.same(raised('PATH=/bin', `${name}=x`), [`exec-env:${name}`], `${name}, the second one`);
    t.same(raised(name), [`exec-env:${name}`], `${name} without a value`);
    t.same(raised(`MY_${name}=x`), [], `MY_${name}: another variable`);
    t.same(raised(`${name.toLowerCase()}=x`), [], `${name.toLowerCase()}: names have a case`);
    t.same(raised(`A=${name}`), [], `${name} as a value`);
  }
  for (const name of [
    'LDFLAGS',
    'LD',
    'GCONV_PATHS',
    'GLIBC_TUNABLE',
    'BASH_ENVS',
    'BASH',
    'ENV',
    'PATH',
    'HOME',
  ]) {
    t.same(raised(`${name}=x`), [], `${name}: loads nothing`);
  }
  t.end();
});

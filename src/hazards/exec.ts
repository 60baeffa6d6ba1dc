import type { Call } from '../docker/call.js';
import { type JsonValue, asFlag, asObject, asString, asStrings } from '../base/json.js';
import { addHazard, setFact, type Findings } from './findings.js';
import {
  fields,
  harmless,
  inspectFields,
  variableNames,
  whenSet,
  type FieldInspector,
} from './field-inspectors.js';
import { cleanPath } from './path.js';
import { queryFlag, queryText } from './query.js';
import { bodyText } from './references.js';

// The dynamic loader reads LD_*, the C library GCONV_PATH and GLIBC_TUNABLES, bash BASH_ENV, with any command.
const LOADS_CODE = /^(?:LD_.*|GCONV_PATH|GLIBC_TUNABLES|BASH_ENV)$/;

const environment: FieldInspector = (value, found) => {
  for (const name of variableNames(value)) {
    if (LOADS_CODE.test(name)) addHazard(found, 'exec-env', name);
  }
};

const EXEC = fields({
  User: harmless,
  Privileged: whenSet((found) => addHazard(found, 'exec-privileged')),
  Tty: harmless,
  ConsoleSize: harmless,
  AttachStdin: harmless,
  AttachStdout: harmless,
  AttachStderr: harmless,
  Detach: harmless,
  DetachKeys: harmless,
  Env: environment,
  WorkingDir: harmless,
  Cmd: harmless,
  // Left over from earlier API versions; the daemon has taken the container from the path ever since.
  Container: harmless,
});

export function inspectExec(body: JsonValue, found: Findings): void {
  const exec = asObject(body);
  setFact(found, 'exec.command', asStrings(exec['Cmd']));
  setFact(found, 'exec.user', asString(exec['User']));
  setFact(found, 'exec.env', variableNames(exec['Env']));
  setFact(found, 'exec.workdir', asString(exec['WorkingDir']));
  setFact(found, 'exec.tty', asFlag(exec['Tty']));
  setFact(found, 'exec.stdin', asFlag(exec['AttachStdin']));
  inspectFields(EXEC, body, found, '');
}

export function inspectAttach(_body: JsonValue, found: Findings, call: Call): void {
  const stdin = queryFlag(call, 'stdin');
  setFact(found, 'attach.stdin', stdin);
  if (stdin) addHazard(found, 'attach-stdin');
}

/** The daemon runs `ps` on the host with these words (daemon/top_unix.go); `-ef` is its own default. */
export function inspectTop(_body: JsonValue, found: Findings, call: Call): void {
  const args = queryText(call, 'ps_args');
  if (args !== '' && args !== '-ef') addHazard(found, 'ps-args', args);
}

/** Reading and writing files of a container. A tar stream that is written is not inspected. */
export function inspectArchive(_body: JsonValue, found: Findings, call: Call): void {
  const { in: part, steps } = call.operation.does.filesAt!;
  const path = part === 'body' ? bodyText(call, steps) : queryText(call, steps[0]!);
  setFact(found, 'archive.path', cleanPath(path));
  if (call.operation.body.kind === 'stream') addHazard(found, 'opaque', 'archive');
}

import { mayBeBefore, type Call } from '../docker/call.js';
import { type JsonValue, asObject, asString, asStrings } from '../base/json.js';
import { addHazard, setFact, type Findings } from './inspection.js';
import {
  checked,
  fields,
  flag,
  inspectFields,
  keptTexts,
  ownText,
  reported,
  variableNames,
  whenSet,
  type FieldInspector,
} from './field-inspectors.js';
import { cleanPath } from './host-access.js';
import { queryFlag, queryText, bodyText } from './call-values.js';

// The dynamic loader reads LD_*, the C library GCONV_PATH and GLIBC_TUNABLES, bash BASH_ENV, with any command.
const LOADS_CODE = /^(?:LD_.*|GCONV_PATH|GLIBC_TUNABLES|BASH_ENV)$/;

const environment: FieldInspector = (value, findings, at) => {
  keptTexts(value, findings, at);
  for (const name of variableNames(value)) {
    if (LOADS_CODE.test(name)) addHazard(findings, 'exec-env', name);
  }
};

const EXEC = fields({
  User: ownText,
  Privileged: whenSet((findings) => addHazard(findings, 'exec-privileged')),
  Tty: flag,
  ConsoleSize: checked,
  AttachStdin: flag,
  AttachStdout: flag,
  AttachStderr: flag,
  Detach: flag,
  DetachKeys: ownText,
  Env: environment,
  WorkingDir: ownText,
  // An exec that nobody starts stays in the daemon's memory until its container goes.
  Cmd: keptTexts,
  // Left over from earlier API versions; the daemon has taken the container from the path ever since.
  Container: reported,
});

export function inspectExec(body: JsonValue, findings: Findings): void {
  const exec = asObject(body);
  setFact(findings, 'exec.command', asStrings(exec['Cmd']));
  setFact(findings, 'exec.user', asString(exec['User']));
  setFact(findings, 'exec.env', variableNames(exec['Env']));
  setFact(findings, 'exec.workdir', asString(exec['WorkingDir']));
  setFact(findings, 'exec.tty', exec['Tty'] === true);
  setFact(findings, 'exec.stdin', exec['AttachStdin'] === true);
  inspectFields(EXEC, body, findings, '');
}

export function inspectAttach(_body: JsonValue, findings: Findings, call: Call): void {
  // Up to 1.41 a websocket is attached to everything (container_routes.go, wsContainersAttach).
  const stdin =
    (call.operation.does.upgrade === 'websocket' && mayBeBefore(call, 42)) || queryFlag(call, 'stdin');
  setFact(findings, 'attach.stdin', stdin);
  if (stdin) addHazard(findings, 'attach-stdin');
}

/** The daemon runs `ps` on the host with these words (daemon/top_unix.go); `-ef` is its own default. */
export function inspectTop(_body: JsonValue, findings: Findings, call: Call): void {
  const args = queryText(call, 'ps_args');
  if (args !== '' && args !== '-ef') addHazard(findings, 'ps-args', args);
}

/** Reading and writing files of a container. A tar stream that is written is not inspected. */
export function inspectArchive(_body: JsonValue, findings: Findings, call: Call): void {
  const { in: part, steps } = call.operation.does.filesAt!;
  const path = part === 'body' ? bodyText(call, steps) : queryText(call, steps[0]!);
  setFact(findings, 'archive.path', cleanPath(path));
  if (call.operation.body.kind === 'stream') addHazard(findings, 'opaque', 'archive');
}

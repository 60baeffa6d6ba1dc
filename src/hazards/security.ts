import { addHazard, type Findings, addToFact } from './inspection.js';
import { asString } from '../base/json.js';
import {
  eachEntry,
  eachString,
  fields,
  flag,
  object,
  otherThan,
  text,
  whenSet,
  type FieldInspector,
} from './field-inspectors.js';

// strconv.ParseBool
const TRUE = new Set(['1', 't', 'T', 'true', 'TRUE', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'false', 'FALSE', 'False']);

/**
 * One entry of SecurityOpt, split as parseSecurityOpt of daemon/daemon_unix.go does: at the first `=`, or at the
 * first `:` when there is no `=`. Only forms that keep or strengthen the defaults are not hazards.
 */
export function inspectSecurityOption(option: string, findings: Findings): void {
  if (option === 'no-new-privileges') return;
  if (option === 'disable') return addHazard(findings, 'security-opt', 'label=disable');
  const cut = option.search(option.includes('=') ? '=' : ':');
  if (cut < 0) return addHazard(findings, 'security-opt', option);
  const name = option.slice(0, cut);
  const value = option.slice(cut + 1);
  if (name === 'no-new-privileges' && TRUE.has(value)) return;
  if (name === 'writable-cgroups' && FALSE.has(value)) return;
  if (name === 'seccomp' && value === 'builtin') return;
  if (name === 'apparmor' && value === 'docker-default') return;
  // A seccomp profile is a whole JSON document, which may allow everything: its text is of no use in a policy.
  const shown = name === 'seccomp' && value !== 'unconfined' ? 'profile' : value;
  addHazard(findings, 'security-opt', `${name}=${shown}`);
}

export const securityOptions: FieldInspector = eachString(inspectSecurityOption);

/** MaskedPaths and ReadonlyPaths replace the engine's lists; an empty list removes all protection. Null keeps them. */
export const maskedPaths: FieldInspector = (_value, findings) => addHazard(findings, 'masked-paths');
export const readonlyPaths: FieldInspector = (_value, findings) => addHazard(findings, 'readonly-paths');

export const sysctls: FieldInspector = eachEntry((name, _value, findings) =>
  addHazard(findings, 'sysctl', name),
);

const selinux = (name: string): FieldInspector =>
  text((value, findings) => addHazard(findings, 'security-opt', `label=${name}:${value}`));

/** ContainerSpec.Privileges of a service (api/types/swarm/container.go), in the words of SecurityOpt. */
export const servicePrivileges: FieldInspector = object(
  fields({
    CredentialSpec: object(
      fields(
        Object.fromEntries(
          ['Config', 'File', 'Registry'].map((name) => [
            name,
            text((value, findings) =>
              addHazard(findings, 'security-opt', `credentialspec=${name.toLowerCase()}:${value}`),
            ),
          ]),
        ),
      ),
    ),
    SELinuxContext: object(
      fields({
        Disable: whenSet((findings) => addHazard(findings, 'security-opt', 'label=disable')),
        User: selinux('user'),
        Role: selinux('role'),
        Type: selinux('type'),
        Level: selinux('level'),
      }),
    ),
    Seccomp: object(
      fields({
        Mode: text((mode, findings) => {
          if (mode === 'custom') addHazard(findings, 'security-opt', 'seccomp=profile');
          else if (mode !== 'default') addHazard(findings, 'security-opt', `seccomp=${mode}`);
        }),
        Profile: whenSet((findings) => addHazard(findings, 'security-opt', 'seccomp=profile')),
      }),
    ),
    AppArmor: object(
      fields({
        Mode: (value, findings) => {
          const mode = asString(value);
          if (mode === 'disabled') addHazard(findings, 'security-opt', 'apparmor=unconfined');
          else if (mode !== '' && mode !== 'default') addHazard(findings, 'security-opt', `apparmor=${mode}`);
        },
      }),
    ),
    NoNewPrivileges: flag,
  }),
);

/** Upper case, without `CAP_`, as NormalizeLegacyCapabilities of moby's oci/caps reads it. */
function normalise(name: string): string {
  const upper = name.toUpperCase();
  return upper.startsWith('CAP_') ? upper.slice(4) : upper;
}

export const addedCapabilities: FieldInspector = eachString((name, findings) => {
  addHazard(findings, 'capability', normalise(name));
  addToFact(findings, 'capabilities.add', normalise(name));
});

export const droppedCapabilities: FieldInspector = eachString((name, findings) => {
  addToFact(findings, 'capabilities.drop', normalise(name));
});

/** The technology that keeps a container apart; on Linux there is only the default. */
export const isolation: FieldInspector = otherThan(['default'], (mode, findings) =>
  addHazard(findings, 'isolation', mode),
);

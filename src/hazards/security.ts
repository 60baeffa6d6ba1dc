import { raise, type Findings } from './findings.js';
import { asString } from '../base/json.js';
import { eachEntry, eachString, fields, harmless, object, text, whenSet, type Judge } from './judge.js';

// strconv.ParseBool
const TRUE = new Set(['1', 't', 'T', 'true', 'TRUE', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'false', 'FALSE', 'False']);

/**
 * One entry of SecurityOpt, split as parseSecurityOpt of daemon/daemon_unix.go does: at the first `=`, or at the
 * first `:` when there is no `=`. Only forms that keep or strengthen the defaults are not hazards.
 */
export function judgeSecurityOption(option: string, found: Findings): void {
  if (option === 'no-new-privileges') return;
  if (option === 'disable') return raise(found, 'security-opt', 'label=disable');
  const cut = option.search(option.includes('=') ? '=' : ':');
  if (cut < 0) return raise(found, 'security-opt', option);
  const name = option.slice(0, cut);
  const value = option.slice(cut + 1);
  if (name === 'no-new-privileges' && TRUE.has(value)) return;
  if (name === 'writable-cgroups' && FALSE.has(value)) return;
  if (name === 'seccomp' && value === 'builtin') return;
  if (name === 'apparmor' && value === 'docker-default') return;
  // A seccomp profile is a whole JSON document, which may allow everything: its text is of no use in a policy.
  const shown = name === 'seccomp' && value !== 'unconfined' ? 'profile' : value;
  raise(found, 'security-opt', `${name}=${shown}`);
}

export const securityOptions: Judge = eachString(judgeSecurityOption);

/** MaskedPaths and ReadonlyPaths replace the engine's lists; an empty list removes all protection. Null keeps them. */
export const maskedPaths: Judge = (_value, found) => raise(found, 'masked-paths');
export const readonlyPaths: Judge = (_value, found) => raise(found, 'readonly-paths');

export const sysctls: Judge = eachEntry((name, _value, found) => raise(found, 'sysctl', name));

const selinux = (name: string): Judge =>
  text((value, found) => raise(found, 'security-opt', `label=${name}:${value}`));

/** ContainerSpec.Privileges of a service (api/types/swarm/container.go), in the words of SecurityOpt. */
export const servicePrivileges: Judge = object(
  fields({
    CredentialSpec: object(
      fields(
        Object.fromEntries(
          ['Config', 'File', 'Registry'].map((name) => [
            name,
            text((value, found) =>
              raise(found, 'security-opt', `credentialspec=${name.toLowerCase()}:${value}`),
            ),
          ]),
        ),
      ),
    ),
    SELinuxContext: object(
      fields({
        Disable: whenSet((found) => raise(found, 'security-opt', 'label=disable')),
        User: selinux('user'),
        Role: selinux('role'),
        Type: selinux('type'),
        Level: selinux('level'),
      }),
    ),
    Seccomp: object(
      fields({
        Mode: text((mode, found) => {
          if (mode === 'custom') raise(found, 'security-opt', 'seccomp=profile');
          else if (mode !== 'default') raise(found, 'security-opt', `seccomp=${mode}`);
        }),
        Profile: whenSet((found) => raise(found, 'security-opt', 'seccomp=profile')),
      }),
    ),
    AppArmor: object(
      fields({
        Mode: (value, found) => {
          const mode = asString(value);
          if (mode === 'disabled') raise(found, 'security-opt', 'apparmor=unconfined');
          else if (mode !== '' && mode !== 'default') raise(found, 'security-opt', `apparmor=${mode}`);
        },
      }),
    ),
    NoNewPrivileges: harmless,
  }),
);

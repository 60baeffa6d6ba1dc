import { addHazard, type Findings } from './inspection.js';
import { asObject, asString } from '../base/json.js';
import type { FieldInspector } from './field-inspectors.js';

// Drivers that write to files of the daemon only.
const LOCAL_DRIVERS = new Set(['', 'json-file', 'local']);

// Options that shape local files and what goes into a line; they cannot make the daemon connect anywhere.
const HARMLESS = new Set([
  ...['max-size', 'max-file', 'compress', 'mode', 'max-buffer-size', 'cache-disabled', 'cache-max-size'],
  ...['cache-max-file', 'cache-compress', 'labels', 'labels-regex', 'env', 'env-regex', 'tag'],
]);

/** Names of options whose values are secrets. */
const SECRET_OPTION = /token|secret|pass(?:word|wd|phrase)?|key|credential/i;

/**
 * The value of a driver's option without what is secret in it: all of a password, the password among options of mount(8)
 * (`username=u,password=p`).
 */
export const shownOption = (key: string, value: string): string =>
  SECRET_OPTION.test(key)
    ? '***'
    : value.replace(/(^|,)([^,=]*(?:pass|secret|token|key|cred)[^,=]*)=[^,]*/gi, '$1$2=***');

function inspectLogConfig(
  driver: string,
  options: Readonly<Record<string, unknown>>,
  findings: Findings,
): void {
  if (!LOCAL_DRIVERS.has(driver)) addHazard(findings, 'log-driver', driver);
  // Also with no driver given: the options then go to the daemon's default driver, whichever that is.
  for (const key of Object.keys(options)) {
    const value = options[key];
    if (HARMLESS.has(key)) continue;
    addHazard(
      findings,
      'log-option',
      SECRET_OPTION.test(key) ? key : `${key}=${typeof value === 'string' ? value : ''}`,
    );
  }
}

/** HostConfig.LogConfig */
export const logConfig: FieldInspector = (value, findings) => {
  const { Type, Config } = asObject(value);
  inspectLogConfig(asString(Type), asObject(Config), findings);
};

/** TaskSpec.LogDriver and TaskDefaults.LogDriver of a swarm. */
export const serviceLogDriver: FieldInspector = (value, findings) => {
  const { Name, Options } = asObject(value);
  inspectLogConfig(asString(Name), asObject(Options), findings);
};

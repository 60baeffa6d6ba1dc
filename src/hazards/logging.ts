import { addHazard, type Findings } from './inspection.js';
import { asObject, asString } from '../base/json.js';
import { patternStates } from './engine-load.js';
import type { FieldInspector } from './field-inspectors.js';
import { isPlainTag } from './templates.js';

// Drivers that write to files of the daemon only.
const LOCAL_DRIVERS = new Set(['', 'json-file', 'local']);

const MAX_FILES = 1_000;
const MAX_BUFFER = 64 * 2 ** 20;
const MAX_STATES = 1_000;

const anyValue = (): boolean => true;
const fewFiles = (value: string): boolean => /^\+?\d{1,4}$/.test(value) && Number(value) <= MAX_FILES;
const shortPattern = (value: string): boolean => patternStates(value) <= MAX_STATES;

/** go-units RAMInBytes: units are powers of 1024 in either case. What it may read otherwise is no small buffer. */
function smallBuffer(value: string): boolean {
  const [, number = '', unit = ''] = /^(\d{1,9}(?:\.\d{1,9})?) ?([kKmM]?)[iI]?[bB]?$/.exec(value) ?? [];
  const factor = { k: 2 ** 10, m: 2 ** 20 }[unit.toLowerCase()] ?? 1;
  return number !== '' && Number(number) * factor <= MAX_BUFFER;
}

/**
 * Options that shape local files and what goes into a line; they cannot make the daemon connect anywhere. Each with the
 * values that cost the daemon no more than logs do anyway.
 */
const LOCAL_OPTIONS: ReadonlyMap<string, (value: string) => boolean> = new Map(
  Object.entries({
    // Without it the file has no end: any size is less. The container waits while a file is rotated.
    'max-size': anyValue,
    // Each rotation renames, and each reader opens, as many files as may be there (loggerutils/logfile.go): 2⁶³ of them
    // hold the container's log, and its end, for years.
    'max-file': fewFiles,
    // One file at a time, while the container waits.
    compress: anyValue,
    // Not to wait for the container's log means to keep it in memory. The limit counts bytes of lines, and an empty line has
    // none: `yes ''` fills the memory of dockerd with the default buffer of 1 MiB (daemon/logger/ring.go).
    mode: (value) => value !== 'non-blocking',
    // Memory of the daemon, for each container: 1 MiB is the default, 4m to 25m is what people set.
    'max-buffer-size': smallBuffer,
    // The same for the copy that the daemon keeps beside other drivers.
    'cache-disabled': anyValue,
    'cache-max-size': anyValue,
    'cache-max-file': fewFiles,
    'cache-compress': anyValue,
    // Names to look up in maps of the container; what they add stands in each line, as in those that the container writes.
    labels: anyValue,
    env: anyValue,
    // Compared once with each name when the container starts.
    'labels-regex': shortPattern,
    'env-regex': shortPattern,
    tag: isPlainTag,
  }),
);

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
    const value = asString(options[key]);
    if (LOCAL_OPTIONS.get(key)?.(value) === true) continue;
    addHazard(findings, 'log-option', SECRET_OPTION.test(key) ? key : `${key}=${value}`);
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

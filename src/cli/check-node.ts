/*
 * Imported before anything else. What is written here, and in main.ts, Node 12 can read.
 */

/** The oldest version of Node that is tested, as in package.json. */
const OLDEST = [20, 20, 0];

/**
 * Why this version of Node cannot be used; '' when it can. Older ones pass on some requests that have two readings (a
 * bare line feed at the end of the head, trailers behind a Content-Length).
 *
 * @param version as in `process.versions.node`: `20.18.1`
 */
export function nodeProblem(version: string): string {
  const parts = version.split('.').map((part) => parseInt(part, 10));
  for (let i = 0; i < OLDEST.length; i++) {
    if (parts[i]! > OLDEST[i]!) return '';
    if (!(parts[i] === OLDEST[i])) {
      return (
        `breakwater needs Node ${OLDEST.join('.')} or newer, and this is Node ${version} (${process.execPath}): ` +
        'its HTTP parser lets requests through that have more than one reading. Install Node 24, the newest LTS.'
      );
    }
  }
  return '';
}

const problem = nodeProblem(process.versions.node);
if (problem !== '') {
  process.stderr.write(`${problem}\n`);
  process.exit(1);
}

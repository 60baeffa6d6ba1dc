/*
 * The LogQL that the shipped dashboard uses: a stream selector, line filters, `json` with named paths, `regexp`, `label_format` and
 * `line_format`, and counts around it. Strict: what is not known throws.
 */

export interface LogQl {
  /** Label and the text it is compared with. */
  readonly selector: readonly (readonly [string, string])[];
  /** Labels that the pipeline makes. */
  readonly extracts: readonly string[];
  /** Labels of `sum by`. */
  readonly by: readonly string[];
  /** Labels that templates name. */
  readonly used: readonly string[];
  readonly stages: readonly Stage[];
}

type Labels = Readonly<Record<string, string>>;
/** The labels after it, or undefined where the line is not taken. */
type Stage = (line: string, labels: Labels) => Labels | undefined;

const AROUND: readonly RegExp[] = [
  /^topk\(10, sum by \((?<by>[\w, ]+)\) \(count_over_time\((?<inner>.*) \[\$__range\]\)\)\)$/s,
  /^sum by \((?<by>[\w, ]+)\) \(count_over_time\((?<inner>.*) \[\$__auto\]\)\)$/s,
  /^sum\(count_over_time\((?<inner>.*) \[\$__range\]\)\)$/s,
  /^(?<inner>\{.*)$/s,
];

/** @throws Error for what is not known here. */
export function readLogQl(text: string): LogQl {
  const groups = AROUND.map((one) => one.exec(text)?.groups).find((one) => one !== undefined);
  if (groups === undefined) throw new Error(`query: ${text}`);
  const [whole = '', labels = ''] = /^\{([^}]*)\}/.exec(groups['inner']!) ?? [];
  const selector = labels.split(', ').map((one) => {
    const [, name, value] = /^(\w+)=~?"([^"]*)"$/.exec(one) ?? [];
    if (name === undefined) throw new Error(`selector: ${one}`);
    return [name, value!] as const;
  });
  const query = {
    selector,
    extracts: [] as string[],
    by: groups['by']?.split(', ') ?? [],
    used: [] as string[],
    stages: [] as Stage[],
  };
  let rest = groups['inner']!.slice(whole.length);
  while (rest !== '') {
    // The operator, then texts in backquotes, or names with texts in quotes.
    const found =
      /^ (?:(?<filter>\|=|\|~) `(?<text>[^`]*)`|\| (?<kind>json|regexp|label_format|line_format) (?<what>(?:`[^`]*`|[^|`])+?))(?= \||$)/.exec(
        rest,
      );
    if (found === null) throw new Error(`stage: ${rest}`);
    const { filter, text: wanted = '', kind = '', what = '' } = found.groups!;
    query.stages.push(filter === undefined ? stage(kind, what, query) : filtering(filter, wanted));
    rest = rest.slice(found[0].length);
  }
  return query;
}

function filtering(operator: string, text: string): Stage {
  const pattern = operator === '|~' ? new RegExp(text) : undefined;
  return (line, labels) => ((pattern?.test(line) ?? line.includes(text)) ? labels : undefined);
}

function stage(kind: string, what: string, query: { extracts: string[]; used: string[] }): Stage {
  const used = [...what.matchAll(/\.([a-z]\w*)(?=[^`]*\}\})/g)].map(([, name]) => name!);
  if (kind === 'json') {
    const paths = what.split(', ').map((one) => {
      const [, name, path] = /^(\w+)="([\w.[\]]+)"$/.exec(one) ?? [];
      if (name === undefined) throw new Error(`json: ${one}`);
      query.extracts.push(name);
      return [name, path!.replaceAll(/\[(\d+)\]/g, '.$1').split('.')] as const;
    });
    return (line, labels) => {
      const record: unknown = JSON.parse(line);
      return { ...labels, ...Object.fromEntries(paths.map(([name, path]) => [name, at(record, path)])) };
    };
  }
  const [, text] = /`([^`]*)`$/.exec(what) ?? [];
  if (text === undefined) throw new Error(`${kind}: ${what}`);
  if (kind === 'regexp') {
    const pattern = new RegExp(text.replaceAll('(?P<', '(?<'));
    query.extracts.push(...[...text.matchAll(/\(\?P<(\w+)>/g)].map(([, name]) => name!));
    return (line, labels) => ({ ...labels, ...pattern.exec(line)?.groups });
  }
  query.used.push(...used);
  if (kind === 'line_format') return (_line, labels) => labels;
  const [, name = '', regex = '', from = '', put = ''] =
    /^(\w+)=`\{\{ regexReplaceAll "([^"]*)" \.(\w+) "([^"]*)" \}\}`$/.exec(what) ?? [];
  if (name === '') throw new Error(`label_format: ${what}`);
  query.extracts.push(name);
  const pattern = new RegExp(regex, 'g');
  return (_line, labels) => ({ ...labels, [name]: (labels[from] ?? '').replace(pattern, put) });
}

/** Objects and lists come as JSON; what is not there as an empty text. */
function at(value: unknown, path: readonly string[]): string {
  let found = value;
  for (const name of path) {
    found =
      typeof found === 'object' && found !== null ? (found as Record<string, unknown>)[name] : undefined;
  }
  if (found === undefined) return '';
  return typeof found === 'string' ? found : JSON.stringify(found);
}

/** The labels that a query makes of a line; undefined where it does not take the line. */
export function labelsOf({ stages }: LogQl, line: string): Labels | undefined {
  let labels: Labels | undefined = {};
  for (const one of stages) {
    labels = one(line, labels);
    if (labels === undefined) return undefined;
  }
  return labels;
}

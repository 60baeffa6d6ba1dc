import type { Call, QueryValue } from './call.js';
import { escapeComponent } from './form.js';
import { renderJson } from './render-json.js';

/**
 * The request target of a call: its version prefix, the path template filled in, the parameters in the order of their
 * names, each escaped in one way. INVARIANT: reading it gives the same call again.
 */
export function renderTarget(call: Call): string {
  const template = call.operation.path;
  const path = template.includes('{') ? fillTemplate(call, template) : template;
  const prefix = call.apiVersion === '' ? '' : `/v${call.apiVersion}`;
  return `${prefix}${path}${renderQuery(call)}`;
}

function fillTemplate(call: Call, template: string): string {
  return template.replace(/\{([^{}]+)\}/g, (_, name: string) => {
    const value = call.path[name];
    if (value === undefined) throw new Error(`the call has no path parameter ${name}`);
    const segments = call.operation.spans.includes(name) ? value.split('/') : [value];
    return segments.map(renderSegment).join('/');
  });
}

function renderSegment(segment: string): string {
  // INVARIANT: a parameter never changes the shape of the path. `%2f` is a separator for dockerd.
  if (segment === '' || segment === '.' || segment === '..' || segment.includes('/')) {
    throw new Error(`${JSON.stringify(segment)} cannot be a path segment`);
  }
  return escapeComponent(segment);
}

function renderQuery(call: Call): string {
  const pairs: string[] = [];
  for (const name of Object.keys(call.query).sort()) {
    const value = call.query[name];
    if (value === undefined) continue;
    const values = value.type === 'strings' ? value.value : [renderValue(value)];
    for (const text of values) pairs.push(`${escapeComponent(name)}=${escapeComponent(text)}`);
  }
  // Only a policy that permits an unknown parameter lets the call come this far.
  for (const { where, value } of call.unknown) {
    if (isUnknownParameter(call, where) && typeof value === 'string') {
      pairs.push(`${escapeComponent(where.slice(1))}=${escapeComponent(value)}`);
    }
  }
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
}

/** `?name`, but not `?name/pointer`, a field inside a parameter that is rendered already. */
function isUnknownParameter(call: Call, where: string): boolean {
  if (!where.startsWith('?')) return false;
  const slash = where.indexOf('/');
  return slash < 0 || !Object.hasOwn(call.query, where.slice(1, slash));
}

function renderValue(value: QueryValue): string {
  switch (value.type) {
    case 'string':
      return value.value;
    case 'boolean':
      return value.value ? '1' : '0';
    case 'integer':
      return value.value.toString();
    case 'json':
      return renderJson(value.value);
    case 'strings':
      return value.value.join('');
  }
}

/**
 * The headers of a call as a flat list: Host, the Content-Type of its body, and the headers that the operation reads.
 * Nothing else that the client sent; framing and connection headers are for the connection to add.
 */
export function renderHeaders(call: Call): string[] {
  const headers = ['Host', 'docker'];
  if (call.body.kind === 'json') headers.push('Content-Type', 'application/json');
  else if (call.body.kind === 'stream' && call.body.present)
    headers.push('Content-Type', call.body.contentType);
  for (const name of call.operation.headers) {
    const value = call.headers[name];
    if (value === undefined) continue;
    for (const line of value.split('\n')) headers.push(name, line);
  }
  return headers;
}

/**
 * The JSON body written anew, to be sent as UTF-8; undefined for a call without a body and for one whose bytes follow as
 * a stream.
 */
export function renderBody(call: Call): string | undefined {
  return call.body.kind === 'json' ? renderJson(call.body.value) : undefined;
}

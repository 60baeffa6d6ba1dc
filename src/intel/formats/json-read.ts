import { fail, reject, type Run } from './run.js';
import { isObject, type PlainObject } from '../../base/json.js';
import { walkJson, type JsonWay } from './json-walk.js';

/** The values that ways lead to; what cannot be read is noted. A text without any, and not empty either, is no such feed. */
export function* jsonValues(
  text: string,
  ways: readonly JsonWay[],
  run: Run,
): Generator<{ pointer: string; way: JsonWay; value: unknown }> {
  let any = false;
  for (const item of walkJson(text, ways)) {
    if (run.failure !== undefined) return;
    if (item.kind === 'end') {
      fail(run, item.pointer, item.reason);
    } else if (item.kind === 'bad') {
      reject(run, item.pointer, item.reason);
    } else {
      any = true;
      yield item;
    }
  }
  if (!any && run.rejected === 0 && !/^\s*(?:\[\s*\]|\{\s*\})\s*$/.test(text.slice(0, 1024))) {
    fail(run, '', 'there are no entries where this format has them');
  }
}

/** The first records that ways lead to in the beginning of a text. */
export function firstRecords(head: string, ways: readonly JsonWay[], count = 5): PlainObject[] {
  const records: PlainObject[] = [];
  for (const item of walkJson(head, ways)) {
    if (item.kind !== 'value' || !isObject(item.value) || records.push(item.value) === count) break;
  }
  return records;
}

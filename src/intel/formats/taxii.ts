import { isObject } from '../../base/json.js';
import { arrayOf, isTrue, textOf } from './feed-fields.js';

/** One page of a TAXII 2.1 collection (TAXII 2.1, 3.7). */
export interface TaxiiEnvelope {
  readonly objects: readonly unknown[];
  readonly more: boolean;
  /** Empty where the server names none. */
  readonly next: string;
}

const MAX_NEXT_LENGTH = 4096;

/** Reads a page; a text says what is wrong with it. An envelope without objects is `{}`. */
export function parseTaxiiEnvelope(text: string): TaxiiEnvelope | string {
  let page: unknown;
  try {
    page = JSON.parse(text);
  } catch {
    return 'the page is no JSON';
  }
  if (!isObject(page)) return 'the page is no JSON object';
  if (Object.hasOwn(page, 'title') && !Object.hasOwn(page, 'objects'))
    return 'the page is no envelope but an error or a description';
  if (Object.hasOwn(page, 'objects') && !Array.isArray(page['objects']))
    return 'the page has "objects" that are no array';
  const next = textOf(page, 'next');
  if (next.length > MAX_NEXT_LENGTH) return `the page has a "next" of over ${MAX_NEXT_LENGTH} characters`;
  return { objects: arrayOf(page, 'objects'), more: isTrue(page, 'more'), next };
}

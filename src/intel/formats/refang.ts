/**
 * Reports and some lists write indicators so that they cannot be clicked: `hxxp://198[.]51[.]100[.]66`. A mark stands
 * inside brackets, blanks around it allowed: `[.]`, `(.)`, `{.}`, `[dot]`, `( dot )`, `[:]`, `[://]`, `[/]`, `[at]`,
 * `[@]`; or is half a pair between letters or digits, as in `198.51.100[.66`; or is the scheme.
 */
const MARKS: Readonly<Record<string, string>> = { dot: '.', at: '@' };

/** Stands before everything that was defanged. Taken out of foreign text first. */
export const MARK = '\ue000';

const BRACKETED = /[[({] {0,2}(dot|at|:\/\/|\/\/|[.:/@]) {0,2}[\])}]/gi;
const HALF = /(?<=[a-z0-9])(?:\[\.|\.\])(?=[a-z0-9])/gi;
const SCHEME = /\b(?:h[x*]{2}p|htxp|hxtp|meow)(s?)(?=\ue000?:\ue000?[/\\]\ue000?[/\\])/gi;
const MAY_BE_FANGED = /[[({]|\.\]|^(?:h[x*]{2}p|htxp|hxtp|meow)s?:/i;

/** The text with every mark undone and MARK in front of what it stood for. Linear: no pattern spans over 16 characters. */
export function markFanged(text: string): string {
  return text
    .replaceAll(MARK, '')
    .replace(BRACKETED, (_, mark: string) => MARK + (MARKS[mark.toLowerCase()] ?? mark))
    .replace(HALF, `${MARK}.`)
    .replace(SCHEME, (_, secure: string) => `${MARK}http${secure.toLowerCase()}`);
}

/** One value with every mark undone. */
export function refang(text: string): string {
  return MAY_BE_FANGED.test(text) ? markFanged(text).replaceAll(MARK, '') : text;
}

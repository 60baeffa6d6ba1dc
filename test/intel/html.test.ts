import t from 'tap';
import { isHtml, textOfHtml } from '../../src/intel/formats/html.js';

// The lists are written anew: an entry that is lost or misspelt is missed.

t.test('each tag that stands inside a word', async (t) => {
  const inline =
    'a abbr b bdi bdo big cite code del dfn em font i ins kbd mark q s samp small span strong sub sup tt u var wbr';
  for (const tag of inline.split(' '))
    t.match(textOfHtml(`198.51<${tag}>.</${tag}>100.7`), '198.51.100.7', tag);
  for (const tag of ['p', 'div', 'td', 'li', 'br', 'h1'])
    t.notMatch(textOfHtml(`198.51<${tag}>.</${tag}>100.7`), '198.51.100.7', `${tag}: ends a word`);
});

t.test('each element whose content no reader sees', async (t) => {
  for (const tag of ['script', 'style', 'template', 'noscript', 'svg', 'head']) {
    const text = textOfHtml(`<p>before</p><${tag}>c2.evil.example</${tag}><p>after</p>`);
    t.notMatch(text, 'c2.evil.example', tag);
    t.match(text, /before[^]*after/, `around ${tag}`);
  }
  t.match(textOfHtml('<pre>c2.evil.example</pre>'), 'c2.evil.example');
});

t.test('each entity', async (t) => {
  const entities: Readonly<Record<string, string>> = {
    ...{ amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ', period: '.', colon: ':', sol: '/' },
    ...{
      lbrack: '[',
      lsqb: '[',
      rbrack: ']',
      rsqb: ']',
      lpar: '(',
      rpar: ')',
      lcub: '{',
      rcub: '}',
      commat: '@',
    },
  };
  for (const [name, character] of Object.entries(entities))
    t.match(textOfHtml(`<p>x&${name};y</p>`), `x${character}y`, name);
  t.match(textOfHtml('<p>x&unknown;y</p>'), 'x&unknown;y');
});

t.test('each tag by which a text is known for HTML', async (t) => {
  const tags = ['html', 'head', 'body', 'div', 'table', 'article', 'section', 'p', 'ul', 'ol', 'pre'];
  for (const tag of tags) t.ok(isHtml(`text <${tag}>`), tag);
  t.ok(isHtml('<!DOCTYPE html>'));
  for (const text of ['1 < 2', '<x>', '<paragraph>', '<b>']) t.notOk(isHtml(text), text);
});

// SPDX-License-Identifier: MIT

import { h } from './dom.js';

// render shows text with the little of Markdown that models write: fenced and inline code, headings, lists, quotes, bold and italics. All
// else, HTML and links included, is shown as it is.
export function render(text) {
  const out = document.createDocumentFragment();
  const lines = text.split('\n');
  for (let i = 0; i < lines.length;) {
    const fence = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)\s*$/.exec(lines[i]);
    const item = /^\s{0,3}(?:[-*+]|(\d{1,9})[.)])\s+\S/.exec(lines[i]);
    if (fence) {
      const code = [];
      for (i++; i < lines.length && !(lines[i].trim().startsWith(fence[1]) && /^[`~]+$/.test(lines[i].trim())); i++) code.push(lines[i]);
      i++;
      out.append(h('pre', { tabindex: '0', 'aria-label': fence[2] ? `Code, ${fence[2]}` : 'Code' }, h('code', {}, code.join('\n'))));
    } else if (/^#{1,6}\s+\S/.test(lines[i])) {
      out.append(h('h3', {}, ...inline(lines[i++].replace(/^#+\s+/, ''))));
    } else if (item) {
      const list = h(item[1] ? 'ol' : 'ul', item[1] ? { start: item[1] } : {});
      const bullet = item[1] ? /^\s{0,3}\d{1,9}[.)]\s+(.*)$/ : /^\s{0,3}[-*+]\s+(.*)$/;
      for (let m; i < lines.length && (m = bullet.exec(lines[i])); i++) list.append(h('li', {}, ...inline(m[1])));
      if (list.childElementCount === 0) list.append(h('li', {}, ...inline(lines[i++])));
      out.append(list);
    } else if (/^>\s?/.test(lines[i])) {
      const quote = [];
      for (; i < lines.length && /^>\s?/.test(lines[i]); i++) quote.push(lines[i].replace(/^>\s?/, ''));
      out.append(h('blockquote', {}, h('p', {}, ...inline(quote.join('\n')))));
    } else if (lines[i].trim() === '') {
      i++;
    } else {
      const paragraph = [lines[i++]];
      while (i < lines.length && lines[i].trim() !== '' && !/^ {0,3}(`{3}|~{3}|#{1,6}\s|>|[-*+]\s+\S|\d{1,9}[.)]\s+\S)/.test(lines[i])) paragraph.push(lines[i++]);
      out.append(h('p', {}, ...inline(paragraph.join('\n'))));
    }
  }
  return out;
}

// inline takes a paragraph's marks apart: code first, then bold and italics, which nest as deep as their two marks allow. Each looks no
// farther than so many characters, so that the time is linear in the text.
const marks = /(?<!`)(`{1,8})(?!`)([\s\S]{0,2000}?[^`])\1(?!`)|\*\*(?=\S)([\s\S]{0,1000}?\S)\*\*|(?<![\w*])\*(?=[^\s*])([^*\n]{0,1000}?[^\s*])\*(?![\w*])/g;

function inline(text, depth = 0) {
  const out = [];
  let at = 0;
  for (const m of depth < 2 ? text.matchAll(marks) : []) {
    const [all, , code, bold, italic] = m;
    if (m.index > at) out.push(text.slice(at, m.index));
    out.push(code !== undefined ? h('code', {}, code) : bold !== undefined ? h('strong', {}, ...inline(bold, depth + 1)) : h('em', {}, ...inline(italic, depth + 1)));
    at = m.index + all.length;
  }
  if (at < text.length) out.push(text.slice(at));
  return out;
}

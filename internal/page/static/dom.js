// SPDX-License-Identifier: MIT

// Elements are made here and nowhere from text that contains markup: what the swarm says is shown as text, whatever it is.

export const $ = (id) => document.getElementById(id);

// h makes an element: h('p', {class: 'dim', onclick: f}, 'text', child, null).
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

// s makes an element of SVG.
export function s(tag, props = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), props, children);
}

function fill(el, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) el.addEventListener(name.slice(2), value);
    else if (name === 'vars') for (const [k, v] of Object.entries(value)) el.style.setProperty(k, v);
    else el.setAttribute(name, value === true ? '' : value);
  }
  el.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return el;
}

// say changes a text only when it differs: what listens to changes is told once.
export function say(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

export const range = (n) => Array.from({ length: n }, (_, i) => i);

// Words for numbers.
export function ms(x) {
  if (!(x >= 0)) return '–';
  if (x >= 10000) return `${(x / 1000).toFixed(1)} s`;
  if (x >= 1000) return `${(x / 1000).toFixed(2)} s`;
  if (x >= 100) return `${x.toFixed(0)} ms`;
  if (x >= 10) return `${x.toFixed(1)} ms`;
  return `${x.toFixed(2)} ms`;
}

export function bytes(n) {
  let unit = 0;
  for (; n >= 1024 && unit < 5; unit++) n /= 1024;
  return `${n >= 100 || unit === 0 ? n.toFixed(0) : n.toFixed(1)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'][unit]}`;
}

export const count = (n, noun) => `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}`;

// shortPeer is how people tell peers apart: all IDs begin alike.
export const shortPeer = (id) => id.slice(-6);

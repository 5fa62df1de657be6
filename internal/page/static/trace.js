// SPDX-License-Identifier: MIT

import { $, h, s, say, ms, count, range, shortPeer } from './dom.js';
import { call } from './net.js';

// What a step's time is made of, in the order in which it is drawn. Durations only: clocks of different machines are never compared, so
// within a step bars stand one behind the other, and what nobody claims lies between them.
const kinds = [
  ['compute', 'compute'], ['queue', 'waiting at the node'], ['code', 'encoding and decoding'], ['wire', 'wire, and what nobody claims'], ['coordinator', 'coordinator'], ['recovery', 'recovery'],
];

let shown = ''; // ID of the request on the page

// showTrace draws where the time of a request went.
export async function showTrace(id) {
  shown = id;
  let r;
  try {
    r = await (await call(`api/requests/${encodeURIComponent(id)}`)).json();
  } catch {
    return; // stopped before it began, or forgotten: the last one stays
  }
  if (shown !== id) return;
  const answer = r.answers.find((a) => a.waterfall.steps.length > 0);
  if (!answer) return;
  const w = answer.waterfall;
  say($('request-sum'), `${w.model} · ${count(w.prompt_tokens, 'prompt token')} · ${count(w.tokens, 'token')}`);
  $('trace').replaceChildren(...draw(answer, w));
  $('trace').dataset.request = id;
}

function draw(answer, w) {
  const steps = w.steps.map(parts), decode = steps.filter((x) => x.step.phase === 'decode');
  return [figures(answer, w, decode), limit(w.limit), phases(answer, w), byHop(w, steps, decode), decode.length > 0 ? tokens(w, decode) : null].filter(Boolean);
}

// limit says what the rate hangs on, where the server has found that out.
function limit(l) {
  return l && h('p', { class: 'dim limit' }, `Limited by ${l.part}${l.layers ? ` of layers ${l.layers.replace('-', '–')}` : ''}, ${(100 * l.share).toFixed(0)} % of a token. ${l.advice || ''}`);
}

// parts sums a step up by kind.
function parts(step) {
  const sum = { compute: 0, queue: 0, code: 0, wire: step.return_ms, coordinator: step.coordinator_ms, recovery: step.recovery_ms };
  for (const hop of step.hops) {
    sum.compute += hop.compute_ms;
    sum.queue += hop.queue_ms;
    sum.wire += hop.wire_ms;
    sum.code += hop.decode_ms + hop.encode_ms;
  }
  return { step, sum };
}

const total = (list, f) => list.reduce((n, x) => n + f(x), 0);
const mean = (list, f) => (list.length > 0 ? total(list, f) / list.length : 0);

function quantile(list, q) {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}

function figures(answer, w, decode) {
  const times = decode.map((x) => x.step.total_ms);
  const rows = [['First token', ms(w.time_to_first_token_ms)], ['Tokens/s', answer.tokens_per_second.toFixed(answer.tokens_per_second >= 100 ? 0 : 1)]];
  if (times.length > 0) rows.push(['A token, median', ms(quantile(times, 0.5))], ['p99', ms(quantile(times, 0.99))]);
  const beside = mean(decode, (x) => x.step.total_ms - x.sum.compute);
  if (times.length > 0) rows.push(['not compute, mean', ms(beside)]);
  return h('dl', { class: 'figures' }, rows.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
}

// phases is the request from left to right.
function phases(answer, w) {
  const first = w.time_to_first_token_ms;
  const list = [['queue', 'queue', answer.queue_ms], ['open', 'open session', w.open_ms], ['prefill', 'prompt', Math.max(0, first - w.open_ms)], ['decode', 'tokens', Math.max(0, w.total_ms - first)]].filter(([, , t]) => t >= 0.01);
  const all = total(list, (p) => p[2]) || 1;
  return h('section', { 'aria-label': 'Phases' }, h('h3', {}, 'From request to last token', h('span', {}, ms(all))),
    h('div', { class: 'bar', 'aria-hidden': 'true' }, list.map(([kind, , t]) => h('i', { class: `seg ${kind}`, vars: { 'flex-grow': t / all } }))),
    h('ul', { class: 'key' }, list.map(([kind, name, t]) => h('li', {}, h('i', { class: `seg ${kind}` }), `${name} ${ms(t)}`))));
}

// byHop is the mean token, hop by hop.
function byHop(w, steps, decode) {
  const list = decode.length > 0 ? decode : steps, what = decode.length > 0 ? 'The mean token, hop by hop' : 'The prompt, hop by hop';
  const all = mean(list, (x) => x.step.total_ms) || 1;
  const last = list.at(-1).step, route = w.routes[last.route].hops;
  const same = list.filter((x) => x.step.route === last.route);
  const line = (name, cls, segments, note) => h('tr', {}, h('th', { scope: 'row', class: cls }, name),
    h('td', { class: 'fill' }, h('div', { class: 'bar thin', 'aria-hidden': 'true' }, segments.map(([k, t]) => h('i', { class: `seg ${k}`, vars: { width: `${(100 * t) / all}%` } })))),
    h('td', { class: 'num' }, ms(total(segments, (x) => x[1]))), h('td', { class: 'num share' }, `${((100 * total(segments, (x) => x[1])) / all).toFixed(0)} %`), note ? h('td', { class: 'unseen' }, note) : null);
  const rows = route.map((hop, i) => {
    const of = (f) => mean(same, (x) => f(x.step.hops[i]));
    const segments = [['compute', of((x) => x.compute_ms)], ['queue', of((x) => x.queue_ms)], ['code', of((x) => x.decode_ms + x.encode_ms)]];
    return line(h('span', {}, hop.layers.replace('-', '–'), h('small', {}, shortPeer(hop.peer))), 'hop', segments, segments.map(([k, t]) => `${k} ${ms(t)}`).join(', '));
  });
  const between = [['wire', mean(list, (x) => x.sum.wire)], ['coordinator', mean(list, (x) => x.sum.coordinator)], ['recovery', mean(list, (x) => x.sum.recovery)]].filter(([, t]) => t > 0);
  rows.push(...between.map(([k, t]) => line(k, '', [[k, t]])));
  const used = kinds.filter(([k]) => list.some((x) => x.sum[k] > 0));
  return h('section', {}, h('h3', {}, what, h('span', {}, ms(all))),
    h('table', { class: 'hops', 'aria-label': what }, h('thead', { class: 'unseen' }, h('tr', {}, ['Where', 'Parts', 'Time', 'Share'].map((t) => h('th', { scope: 'col' }, t)))), h('tbody', {}, rows)),
    h('ul', { class: 'key' }, used.map(([k, name]) => h('li', {}, h('i', { class: `seg ${k}` }), name))));
}

// tokens is each token: a column each, and the chosen one as a waterfall.
function tokens(w, decode) {
  const wide = 1000, high = 120, n = decode.length;
  const top = Math.max(quantile(decode.map((x) => x.step.total_ms), 0.995) * 1.15, 1e-6); // outliers are cut, and say so when chosen
  const x = (i) => (i * wide) / n, gap = n > 250 ? 0 : Math.min(2, wide / n / 4);
  const base = new Array(n).fill(0);
  const paths = kinds.map(([kind]) => {
    const d = decode.map((t, i) => {
      const from = Math.min(1, base[i] / top), to = Math.min(1, (base[i] += t.sum[kind]) / top);
      if (to <= from) return '';
      return `M${x(i).toFixed(2)} ${(high * (1 - to)).toFixed(2)}h${(wide / n - gap).toFixed(2)}v${(high * (to - from)).toFixed(2)}h-${(wide / n - gap).toFixed(2)}z`;
    }).join('');
    return d && s('path', { class: `seg ${kind}`, d });
  }).filter(Boolean);
  const mark = s('rect', { class: 'mark', y: 0, width: Math.max(wide / n, 2), height: high });
  const svg = s('svg', { viewBox: `0 0 ${wide} ${high}`, preserveAspectRatio: 'none', class: 'columns', 'aria-hidden': 'true' }, mark, ...paths);
  const detail = h('div', { class: 'detail' }), caption = h('span');
  const slider = h('input', { type: 'range', id: 'token', min: 1, max: n, step: 1, value: Math.min(n, Math.ceil(n / 2)), 'aria-label': 'Token' });
  const choose = (i) => {
    const { step } = decode[i];
    mark.setAttribute('x', x(i));
    const words = `token ${i + 2} of ${n + 1}: ${ms(step.total_ms)}`; // the first token is the prompt's
    say(caption, words);
    slider.setAttribute('aria-valuetext', words);
    detail.replaceChildren(waterfall(w, step));
  };
  slider.addEventListener('input', () => choose(Number(slider.value) - 1));
  const point = (e) => {
    const box = svg.getBoundingClientRect();
    slider.value = Math.max(1, Math.min(n, Math.floor(((e.clientX - box.left) / box.width) * n) + 1));
    choose(Number(slider.value) - 1);
  };
  svg.addEventListener('pointerdown', (e) => { svg.setPointerCapture(e.pointerId); point(e); });
  svg.addEventListener('pointermove', (e) => { if (e.buttons) point(e); });
  choose(Number(slider.value) - 1);
  return h('section', { class: 'tokens' }, h('h3', {}, 'Token by token', caption),
    h('div', { class: 'plot' }, svg, h('div', { class: 'scale', 'aria-hidden': 'true' }, h('span', {}, ms(top)), h('span', {}, '0'))), slider, detail);
}

// waterfall draws one step: who had it, one after the other.
function waterfall(w, step) {
  const route = w.routes[step.route].hops, all = step.total_ms || 1, between = total(step.hops, (x) => x.wire_ms) + step.return_ms;
  let at = 0;
  const row = (name, segments) => {
    const bars = segments.filter(([, t]) => t > 0).map(([kind, t]) => {
      const el = h('i', { class: `seg ${kind}`, vars: { left: `${(100 * at) / all}%`, width: `${(100 * t) / all}%` } });
      at += t;
      return el;
    });
    return h('tr', {}, h('th', { scope: 'row', class: 'hop' }, name), h('td', { class: 'fill' }, h('div', { class: 'lane', 'aria-hidden': 'true' }, bars)), h('td', { class: 'num' }, ms(total(segments, (x) => x[1]))));
  };
  const rows = [];
  if (step.recovery_ms > 0) rows.push(row('recovery', [['recovery', step.recovery_ms]]));
  if (step.coordinator_ms > 0) rows.push(row('coordinator', [['coordinator', step.coordinator_ms]]));
  for (const i of range(step.hops.length)) {
    const hop = step.hops[i];
    at += hop.wire_ms; // a share: only the sum is known
    rows.push(row(h('span', {}, route[i].layers.replace('-', '–'), h('small', {}, shortPeer(route[i].peer))), [['queue', hop.queue_ms], ['code', hop.decode_ms], ['compute', hop.compute_ms], ['code', hop.encode_ms]]));
  }
  rows.push(h('tr', {}, h('th', { scope: 'row' }, 'between them'), h('td', { class: 'fill' }), h('td', { class: 'num' }, ms(between))));
  return h('table', { class: 'hops waterfall' }, h('caption', { class: 'unseen' }, 'The chosen token, hop by hop'), h('tbody', {}, rows));
}

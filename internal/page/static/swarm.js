// SPDX-License-Identifier: MIT

import { $, h, say, ms, bytes, count, range, shortPeer } from './dom.js';
import { call, events } from './net.js';

const remembered = 90_000; // how long a node that was lost stays in the picture
const grids = new Map(); // model ID → Grid
let latest = null; // what the server said last

// startSwarm keeps the picture of the swarm live until the page goes. While nobody sees the page nobody asks: nodes need not answer.
export async function startSwarm(tell) {
  let watching = null;
  document.addEventListener('visibilitychange', () => { if (document.hidden) watching?.abort(); });
  for (let pause = 500; ; pause = Math.min(pause * 2, 8000)) {
    await seen();
    watching = new AbortController();
    try {
      for await (const data of events(await call('api/swarm', { accept: 'text/event-stream', signal: watching.signal }))) {
        pause = 250;
        latest = JSON.parse(data);
        draw(latest);
        health();
        tell(latest);
      }
    } catch { /* told below, and tried again */ }
    if (document.hidden) continue;
    latest = null;
    health();
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

// seen returns when the page is.
async function seen() {
  while (document.hidden) await new Promise((resolve) => document.addEventListener('visibilitychange', resolve, { once: true }));
}

// gapsOf names the layers of a model that nobody serves now.
export function gapsOf(name) {
  const m = latest?.models.find((m) => m.model === name && m.missing.length > 0);
  return m ? m.missing.map(pretty).join(', ') : '';
}

const pretty = (layers) => layers.replace('-', '–');

function parse(layers) {
  const [from, to] = layers.split('-').map(Number);
  return { from, to: (to ?? from) + 1 };
}

// health is the word in the page's head.
function health() {
  const el = $('health'), text = el.querySelector('span');
  const set = (state, words) => { el.dataset.state = state; say(text, words); };
  if (!latest) return set('down', 'coordinator not reached');
  const whole = latest.models.filter((m) => m.complete), broken = latest.models.find((m) => !m.complete);
  if (latest.nodes.length === 0) return set('down', 'no nodes');
  if (whole.length === 0) return set('down', `layers ${pretty(broken.missing[0])} missing`);
  if (broken) return set('risk', `layers ${pretty(broken.missing[0])} of ${broken.model} missing`);
  const nodes = count(latest.nodes.length, 'node');
  if (!latest.server.ready) return set('risk', `${nodes}, not ready`);
  set('ready', `ready, ${nodes}`);
}

function draw(view) {
  const { running, waiting, parallel } = view.server;
  say($('swarm-sum'), [`“${view.swarm}”`, count(view.nodes.length, 'node'), `${running} of ${parallel} running${waiting ? `, ${waiting} waiting` : ''}`].join(' · '));
  for (const m of view.models) if (!grids.has(m.model_id)) grids.set(m.model_id, new Grid(m));
  const news = [];
  for (const [id, grid] of grids) {
    const m = view.models.find((m) => m.model_id === id);
    news.push(...grid.update(m, view.nodes.filter((n) => n.model_id === id)));
    if (!m && grid.rows.size === 0) {
      grid.el.remove();
      grids.delete(id);
    }
  }
  const list = [...grids.values()].map((g) => g.el);
  if (list.length === 0) list.push(h('p', { class: 'dim empty' }, 'No nodes yet. Start one on any machine: ', h('code', {}, 'shardnode')));
  if (list.some((el, i) => $('models').children[i] !== el) || $('models').childElementCount !== list.length) $('models').replaceChildren(...list);
  if (news.length > 0) say($('swarm-news'), news.join(' '));
}

// Grid is one model: its layers from left to right, a node a row, and below how many nodes serve each layer.
class Grid {
  constructor(model) {
    this.layers = model.layers;
    this.rows = new Map(); // peer → Row
    this.missing = null;
    const id = `m-${model.model_id.slice(0, 12)}`;
    this.title = h('span');
    this.sum = h('span', { class: 'sum' });
    this.body = h('tbody', { role: 'rowgroup' });
    this.copies = track(this.layers);
    this.copiesText = h('span', { class: 'unseen' });
    const step = [1, 2, 4, 8, 16, 32, 64].find((n) => this.layers / n <= 9) || 128;
    const axis = h('div', { class: 'axis', 'aria-hidden': 'true', vars: { '--layers': this.layers } },
      range(Math.ceil(this.layers / step)).map((i) => h('span', { vars: { 'grid-column': `${i * step + 1} / span ${Math.min(step, this.layers - i * step)}` } }, String(i * step))));
    const head = (text, cls, ...more) => h('th', { role: 'columnheader', scope: 'col', class: cls }, h('span', { class: more.length ? 'unseen' : null }, text), ...more);
    this.el = h('section', { class: this.layers > 20 ? 'model dense' : 'model', 'aria-labelledby': id },
      h('h3', { id }, this.title, ' ', this.sum),
      h('table', { class: 'grid', role: 'table', 'aria-labelledby': id },
        h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, head('Node', 'who'), head('Layers', 'where', axis), head('RTT', 'num'), head('Step', 'num step'), head('Sessions', 'num'), head('KV memory', 'num kv'))),
        this.body,
        h('tfoot', { role: 'rowgroup' }, h('tr', { role: 'row' }, h('th', { role: 'rowheader', scope: 'row', class: 'who' }, 'Copies'), h('td', { role: 'cell', class: 'where' }, this.copies, this.copiesText)))),
      h('ul', { class: 'key', 'aria-label': 'Key' }, [['served', 'served'], ['loading', 'loading'], ['leaving', 'leaving'], ['lost', 'lost'], ['risk', 'one copy'], ['gap', 'nobody serves it']].map(([c, w]) => h('li', {}, h('i', { class: `cell ${c}` }), w))));
  }

  // update shows what is there now, and returns what a listener should hear of the change.
  update(model, nodes) {
    const now = Date.now(), news = [];
    for (const n of nodes) {
      let row = this.rows.get(n.peer);
      if (!row) this.rows.set(n.peer, row = new Row(this.layers));
      else if (row.lost) news.push(`Node ${shortPeer(n.peer)} is back with layers ${pretty(n.layers)}.`);
      row.update(n, 0);
    }
    for (const [peer, row] of this.rows) {
      if (nodes.some((n) => n.peer === peer)) continue;
      if (!row.lost) news.push(`Node ${shortPeer(peer)} is lost, with layers ${pretty(row.node.layers)}.`);
      row.lost ||= now;
      if (now - row.lost > remembered) {
        row.remove();
        this.rows.delete(peer);
      } else row.update(row.node, row.lost);
    }
    const order = [...this.rows.values()].sort((a, b) => a.at.from - b.at.from || a.at.to - b.at.to || (a.node.peer < b.node.peer ? -1 : 1)).flatMap((r) => [r.el, r.more]);
    if (order.some((el, i) => this.body.children[i] !== el)) this.body.append(...order);

    const copies = range(this.layers).map((l) => nodes.filter((n) => !n.draining && !n.loading && covers(n, l)).length);
    copies.forEach((n, l) => {
      const cell = this.copies.children[l];
      say(cell, n > 9 ? '+' : String(n));
      cell.className = `cell copies ${n === 0 ? 'gap' : n === 1 ? 'risk' : 'enough'}`;
    });
    const missing = model ? model.missing : [`0-${this.layers - 1}`], risky = model ? model.at_risk : [];
    say(this.title, model ? model.model : nodes[0]?.model || this.title.textContent);
    const alone = copies.every((n) => n === 1) ? 'each' : risky.map(pretty).join(' and ');
    const state = missing.length > 0 ? `nobody serves layers ${missing.map(pretty).join(', ')}` : risky.length > 0 ? `every layer served; ${alone} by one node alone` : 'every layer served twice or more';
    say(this.sum, `${this.layers} layers, ${state}`);
    this.el.dataset.state = missing.length > 0 ? 'gap' : 'whole';
    say(this.copiesText, `${state}; ${copies.map((n, l) => `${l}: ${n}`).join(', ')}`);
    if (this.missing !== null && this.missing !== missing.join()) news.push(missing.length > 0 ? `Nobody serves layers ${missing.map(pretty).join(', ')} of ${this.title.textContent}.` : `All layers of ${this.title.textContent} are served.`);
    this.missing = missing.join();
    return news;
  }
}

function covers(n, l) {
  const { from, to } = parse(n.layers);
  return l >= from && l < to;
}

function track(layers) {
  return h('div', { class: 'track', 'aria-hidden': 'true', vars: { '--layers': layers } }, range(layers).map(() => h('span', { class: 'cell' })));
}

// Row is a node.
class Row {
  constructor(layers) {
    this.lost = 0; // when it was; 0: it is there
    this.id = h('span', { class: 'peer' });
    this.word = h('span', { class: 'word' });
    this.unseen = h('span', { class: 'unseen' });
    this.button = h('button', { type: 'button', class: 'link', 'aria-expanded': 'false', onclick: () => this.toggle() }, this.id, this.unseen);
    this.track = track(layers);
    this.where = h('span', { class: 'unseen' });
    this.rtt = h('td', { role: 'cell', class: 'num', 'data-label': 'RTT' });
    this.step = h('td', { role: 'cell', class: 'num step', 'data-label': 'step' });
    this.sessions = h('td', { role: 'cell', class: 'num meter', 'data-label': 'sessions' });
    this.kv = h('td', { role: 'cell', class: 'num meter kv', 'data-label': 'KV' });
    this.el = h('tr', { role: 'row', class: 'node' }, h('th', { role: 'rowheader', scope: 'row', class: 'who' }, this.button, this.word),
      h('td', { role: 'cell', class: 'where' }, this.track, this.where), this.rtt, this.step, this.sessions, this.kv);
    this.list = h('dl');
    this.more = h('tr', { role: 'row', class: 'more', hidden: true }, h('td', { role: 'cell', colspan: '6' }, this.list));
  }

  toggle() {
    this.more.hidden = !this.more.hidden;
    this.button.setAttribute('aria-expanded', String(!this.more.hidden));
  }

  remove() {
    this.el.remove();
    this.more.remove();
  }

  update(n, lost) {
    this.node = n;
    this.lost = lost;
    this.at = parse(n.layers);
    const state = lost ? 'lost' : n.loading ? 'loading' : n.draining ? 'leaving' : n.age_ms > 8000 ? 'late' : 'served';
    this.el.dataset.state = state;
    say(this.id, shortPeer(n.peer));
    say(this.unseen, `, layers ${pretty(n.layers)}, details`);
    const seconds = Math.round((Date.now() - lost) / 1000);
    say(this.word, { lost: `lost ${seconds} s ago`, loading: 'loading', leaving: 'leaving', late: 'silent', served: pretty(n.layers) }[state]);
    say(this.where, `${pretty(n.layers)}${state === 'served' ? '' : `, ${state}`}`);
    [...this.track.children].forEach((cell, l) => {
      const cls = l >= this.at.from && l < this.at.to ? `cell ${state}` : 'cell';
      if (cell.className !== cls) cell.className = cls;
    });
    say(this.rtt, lost ? '–' : ms(n.rtt_ms));
    say(this.step, lost || !n.step_ms ? '–' : ms(n.step_ms));
    meter(this.sessions, lost ? '–' : `${n.sessions}/${n.max_sessions}`, lost ? 0 : n.sessions / n.max_sessions);
    meter(this.kv, lost ? '–' : `${bytes(n.kv_used_bytes)}`, lost ? 0 : n.kv_used_bytes / n.kv_max_bytes);
    this.kv.title = lost ? '' : `of ${bytes(n.kv_max_bytes)}`;
    const facts = [
      ['Peer', n.peer], ['Addresses', n.addrs.join('\n') || 'none'], ['Version', n.version], ['Arithmetic', n.numerics.join('\n')],
      ['KV memory', `${bytes(n.kv_used_bytes)} of ${bytes(n.kv_max_bytes)}`],
      ['Says of itself', [n.decode_bytes_per_second && `decodes ${bytes(n.decode_bytes_per_second)}/s`, n.prefill_flops && `prefills ${(n.prefill_flops / 1e9).toFixed(1)} GFLOP/s`, n.memory_bytes && `has ${bytes(n.memory_bytes)} for weights and KV caches`].filter(Boolean).join(', ') || 'nothing'],
    ];
    facts.forEach(([name, value], i) => {
      if (!this.list.children[2 * i]) this.list.append(h('dt', {}, name), h('dd'));
      say(this.list.children[2 * i + 1], value);
    });
  }
}

function meter(el, text, part) {
  say(el, text);
  el.style.setProperty('--part', `${Math.round(100 * Math.min(1, part || 0))}%`);
}

// SPDX-License-Identifier: MIT

import { $, h, say, ms, count } from './dom.js';
import { call, events } from './net.js';
import { render } from './markdown.js';

const ideas = ['What is artificial intelligence?', 'What is a peer-to-peer network?', 'What is the capital of Italy?', 'What is a goroutine?'];

const slot = 'shardnode.chat'; // the conversation outlives a reload of this tab, no more
let turns = []; // {role, content, facts}
let running = null; // AbortController of the answer under way

// hooks are what the chat wants from the other parts of the page.
const hooks = { gaps: () => '', traced: () => {} };

export function startChat(given) {
  Object.assign(hooks, given);
  for (const text of ideas) $('ideas').append(h('li', {}, h('button', { type: 'button', onclick: () => ask(text) }, text)));
  const prompt = $('prompt');
  prompt.addEventListener('input', grow);
  prompt.addEventListener('keydown', (e) => {
    if (e.key !== 'Enter' || e.shiftKey || e.isComposing) return;
    e.preventDefault();
    submit();
  });
  $('composer').addEventListener('submit', (e) => { e.preventDefault(); submit(); });
  $('stop').addEventListener('click', stop);
  $('reset').addEventListener('click', reset);
  document.addEventListener('keydown', (e) => {
    if (e.key !== 'Escape') return;
    if ($('settings').open) {
      $('settings').open = false;
      $('settings').querySelector('summary').focus();
    } else stop();
  });
  document.addEventListener('click', (e) => { if (!$('settings').contains(e.target)) $('settings').open = false; });
  try {
    turns = JSON.parse(sessionStorage.getItem(slot)) || [];
  } catch {
    turns = [];
  }
  redraw();
  prompt.focus();
}

// setModels offers those that the swarm has.
export function setModels(models) {
  const select = $('model'), chosen = select.value;
  const wanted = models.map((m) => h('option', { value: m.name, disabled: !m.complete }, m.complete ? m.name : `${m.name}, layers missing`));
  if (wanted.length === 0) wanted.push(h('option', { value: '' }, 'no model yet'));
  if (wanted.map((o) => o.textContent + o.disabled).join() === [...select.options].map((o) => o.textContent + o.disabled).join()) return;
  select.replaceChildren(...wanted);
  if ([...select.options].some((o) => o.value === chosen)) select.value = chosen;
  select.disabled = models.length < 2;
}

function grow() {
  const p = $('prompt');
  p.style.height = 'auto';
  p.style.height = `${p.scrollHeight + 2}px`;
}

function submit() {
  const text = $('prompt').value.trim();
  if (text && !running) ask(text);
}

function stop() {
  running?.abort();
}

function reset() {
  stop();
  turns = [];
  keep();
  redraw();
  $('prompt').focus();
}

function keep() {
  try {
    sessionStorage.setItem(slot, JSON.stringify(turns));
  } catch { /* longer than the browser keeps: it is on the page all the same */ }
}

function redraw() {
  $('welcome').hidden = turns.length > 0;
  $('log').replaceChildren($('welcome'), ...turns.map((t) => (t.role === 'user' ? userTurn(t) : drawn(t))));
  toEnd(true);
}

function userTurn(t) {
  return h('article', { class: 'turn user', 'aria-label': 'You' }, t.content);
}

// drawn shows an answer that is complete.
function drawn(t) {
  const text = h('div', { class: 'text' });
  text.append(render(t.content));
  const el = h('article', { class: 'turn assistant', 'aria-label': 'Answer' }, thought(t.reasoning), text);
  if (t.facts) el.append(facts(t));
  return el;
}

function thought(text) {
  return text ? h('details', { class: 'thought' }, h('summary', {}, 'Thoughts'), h('p', {}, text)) : null;
}

function facts(t) {
  const f = t.facts;
  const words = [count(f.tokens, 'token')];
  if (f.rate > 0) words.push(`${f.rate >= 100 ? f.rate.toFixed(0) : f.rate.toFixed(1)} tokens/s`);
  if (f.first > 0) words.push(`first after ${ms(f.first)}`);
  if (f.reason === 'length') words.push('cut at the most tokens');
  if (f.reason === 'stopped') words.push('stopped');
  const copy = h('button', { type: 'button', class: 'link', onclick: async () => {
    await navigator.clipboard.writeText(t.content);
    say(copy, 'Copied');
    setTimeout(() => say(copy, 'Copy'), 1500);
  } }, 'Copy');
  return h('div', { class: 'facts' }, ...words.map((w) => h('span', {}, w)),
    f.id && h('a', { href: '#request', onclick: () => hooks.traced(f.id) }, 'Where the time went'), navigator.clipboard && copy);
}

// parameters of the next request. A field that makes no sense is left out, and the server's default holds.
function parameters() {
  const p = {};
  for (const name of ['temperature', 'top_p', 'seed', 'max_tokens']) {
    const field = $(name);
    if (field.value !== '' && field.validity.valid) p[name] = Number(field.value);
  }
  return p;
}

async function ask(text) {
  if (running) return;
  $('prompt').value = '';
  grow();
  turns.push({ role: 'user', content: text });
  $('welcome').hidden = true;
  $('log').append(userTurn(turns.at(-1)));
  keep();
  await answer();
}

// answer lets the swarm answer the last turn.
async function answer() {
  const turn = { role: 'assistant', content: '', reasoning: '' };
  const text = h('div', { class: 'text' }), mind = h('div');
  const el = h('article', { class: 'turn assistant', 'aria-label': 'Answer', 'aria-busy': 'true' }, mind, text);
  $('log').append(el);
  toEnd(true);
  running = new AbortController();
  busy(true);
  say($('progress'), 'Reading the conversation.');
  const watch = { began: performance.now(), first: 0, last: performance.now(), pieces: 0 };
  const ticking = setInterval(() => progress(watch), 250);
  let failure = null, dirty = false, usage = null, reason = '', id = '';
  const paint = () => {
    dirty = false;
    mind.replaceChildren(...[thought(turn.reasoning)].filter(Boolean));
    text.replaceChildren(render(turn.content));
    toEnd(false);
  };
  try {
    const system = $('system').value.trim();
    const messages = [...(system ? [{ role: 'system', content: system }] : []), ...turns.map(({ role, content }) => ({ role, content }))];
    const body = { model: $('model').value || undefined, messages, stream: true, stream_options: { include_usage: true }, ...parameters() };
    const response = await call('v1/chat/completions', { body, signal: running.signal, accept: 'text/event-stream' });
    let complete = false;
    for await (const data of events(response)) {
      if (data === '[DONE]') {
        complete = true;
        break;
      }
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Error(chunk.error.message);
      id = el.dataset.request = chunk.id || id;
      usage = chunk.usage || usage;
      const choice = chunk.choices?.[0];
      reason = choice?.finish_reason || reason;
      const { content, reasoning_content: reasoning } = choice?.delta || {};
      if (!content && !reasoning) continue;
      watch.last = performance.now();
      watch.first ||= watch.last;
      watch.pieces++;
      turn.content += content || '';
      turn.reasoning += reasoning || '';
      if (!dirty) {
        dirty = true;
        requestAnimationFrame(paint);
      }
    }
    if (!complete) throw new Error('The connection ended before the answer did.');
  } catch (err) {
    if (err.name === 'AbortError') reason = 'stopped';
    else failure = err;
  }
  clearInterval(ticking);
  paint();
  running = null;
  busy(false);
  el.setAttribute('aria-busy', 'false');
  if (turn.content || (!failure && reason !== 'stopped')) {
    const seconds = (watch.last - watch.first) / 1000;
    turn.facts = { id, tokens: usage?.completion_tokens ?? watch.pieces, reason, first: watch.first && watch.first - watch.began, rate: seconds > 0 && watch.pieces > 1 ? (watch.pieces - 1) / seconds : 0 };
    turns.push(turn);
    el.append(facts(turn));
    keep();
  } else if (!failure) {
    el.remove();
  }
  if (failure) {
    el.append(h('div', { class: 'fault', role: 'alert' }, h('p', {}, failure instanceof TypeError ? 'The coordinator does not answer. Is it still running?' : failure.message),
      h('button', { type: 'button', onclick: () => retry(el) }, 'Try again')));
    if (turns.at(-1) === turn) turns.pop(); // half an answer is shown, but is nothing to build on
    keep();
  }
  say($('progress'), failure ? '' : reason === 'stopped' ? 'Stopped.' : `Answer complete: ${count(turn.facts?.tokens ?? 0, 'token')}.`);
  if (id) hooks.traced(id);
  toEnd(false);
}

function retry(el) {
  if (running) return;
  el.remove();
  $('prompt').focus();
  answer();
}

function busy(on) {
  $('send').hidden = on;
  $('stop').hidden = !on;
  const lost = document.activeElement === document.body || document.activeElement === $('stop') || document.activeElement === $('send');
  if (on && document.activeElement === $('send')) $('stop').focus();
  else if (!on && lost) $('prompt').focus();
}

// progress says what one waits for. It speaks each quarter of a second, but says the same words for as long as they hold.
function progress(watch) {
  const silent = performance.now() - watch.last, gaps = hooks.gaps($('model').value);
  if (silent > 1200 && gaps) say($('progress'), `Waiting: nobody serves layers ${gaps}. The answer goes on when somebody does.`);
  else if (silent > 4000) say($('progress'), watch.first ? 'No token for some seconds.' : 'Waiting for the first token.');
  else say($('progress'), watch.first ? 'Answering. Escape stops it.' : 'Reading the conversation.');
}

// toEnd keeps the end in sight of one who is there.
function toEnd(always) {
  const log = $('log');
  if (always || log.scrollHeight - log.scrollTop - log.clientHeight < 120) log.scrollTop = log.scrollHeight;
}

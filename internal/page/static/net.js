// SPDX-License-Identifier: MIT

import { $, say } from './dom.js';

// The key is kept for this tab only.
const slot = 'shardnode.key';

export class Refused extends Error {
  constructor(status, body) {
    super(body?.error?.message || `the server answered ${status}`);
    this.status = status;
    this.code = body?.error?.code || '';
  }
}

// call asks the server, and the user for a key where the server wants one. The error is a Refused, an AbortError, or a TypeError when
// nobody answers.
export async function call(path, { body, signal, accept } = {}) {
  for (;;) {
    const key = sessionStorage.getItem(slot);
    const headers = { Accept: accept || 'application/json' };
    if (key) headers.Authorization = `Bearer ${key}`;
    if (body) headers['Content-Type'] = 'application/json';
    const response = await fetch(path, { method: body ? 'POST' : 'GET', headers, body: body && JSON.stringify(body), signal, cache: 'no-store' });
    if (response.ok) return response;
    const refused = new Refused(response.status, await response.json().catch(() => null));
    if (response.status !== 401) throw refused;
    if (sessionStorage.getItem(slot) === key) {
      sessionStorage.removeItem(slot);
      await askKey(key ? 'This key is not known here.' : '');
    }
  }
}

let asking = null;

// askKey returns once a key was entered; who asks meanwhile waits for the same.
function askKey(error) {
  asking ||= new Promise((resolve) => {
    const dialog = $('key-dialog'), form = $('key-form'), field = $('key');
    field.value = '';
    dialog.oncancel = (e) => e.preventDefault(); // there is nothing to see without
    form.onsubmit = (e) => {
      e.preventDefault();
      const key = field.value.trim();
      if (!/^[\x21-\x7e]+$/.test(key)) {
        say($('key-error'), 'A key is one word.');
        return;
      }
      sessionStorage.setItem(slot, key);
      dialog.close();
      asking = null;
      resolve();
    };
    dialog.showModal();
    say($('key-error'), error);
  });
  return asking;
}

// events yields the data of server-sent events.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = '', data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      buffer += value;
      const lines = buffer.split('\n');
      buffer = lines.pop();
      for (const raw of lines) {
        const line = raw.replace(/\r$/, '');
        if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
        else if (line === '' && data.length > 0) {
          yield data.join('\n');
          data = [];
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

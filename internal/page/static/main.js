// SPDX-License-Identifier: MIT

import { $ } from './dom.js';
import { startChat, setModels } from './chat.js';
import { startSwarm, gapsOf } from './swarm.js';
import { showTrace } from './trace.js';

const views = ['chat', 'swarm', 'request'];

// route shows the view that the address names.
function route() {
  const wanted = location.hash.slice(1), view = views.includes(wanted) ? wanted : 'chat';
  document.body.dataset.view = view;
  for (const a of document.querySelectorAll('nav a')) {
    if (a.dataset.for === view) a.setAttribute('aria-current', 'page');
    else a.removeAttribute('aria-current');
  }
  document.title = view === 'chat' ? 'shardnode' : `shardnode · ${view}`;
}

addEventListener('hashchange', route);
$('skip').addEventListener('click', (e) => {
  e.preventDefault();
  location.hash = 'chat';
  $('prompt').focus();
});
route();
startChat({ gaps: gapsOf, traced: showTrace });
startSwarm((view) => setModels(view.models.map((m) => ({ name: m.model, complete: m.complete }))));

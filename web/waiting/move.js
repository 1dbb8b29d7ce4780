// Takes a place by the link's fragment; else shows what becomes of the place whose link this is.
(() => {
  'use strict';
  const main = document.querySelector('main');
  const data = main.dataset;
  const form = main.querySelector('form');
  const give = main.querySelector('.give');
  const way = main.querySelector('.way');

  function say({ heading, text }) {
    const [title, detail] = main.querySelector('header').children;
    document.title = title.textContent = heading;
    detail.textContent = text;
  }

  // Another link in the same tab loads nothing by itself.
  addEventListener('hashchange', () => location.reload());
  const token = location.hash.slice(1);
  if (token && form) {
    // Out of the address: no history and no bookmark keeps it.
    history.replaceState(null, '', location.pathname + location.search);
    form.elements.token.value = token;
    form.classList.add('sure');
    for (const note of form.querySelectorAll('.note')) note.hidden = false;
    give?.remove();
    say(data);
    return;
  }
  if (!data.statusUrl) return;

  async function ask() {
    let wait = 10_000;
    try {
      const response = await fetch(data.statusUrl, { cache: 'no-store' });
      const told = await response.json();
      wait = response.headers.get('Retry-After') * 1000 || told.poll_after_ms || wait;
      if (told.state === 'admitted' && 'waits' in data) return location.replace(told.go);
      if (/^(left|expired)$/.test(told.state)) return end(told.said);
    } catch {
      // No network: later.
    }
    setTimeout(ask, wait);
  }

  function end(said) {
    say(said);
    give.remove();
    way.textContent = said.action || way.textContent;
    way.onclick = async event => {
      event.preventDefault();
      const headers = { 'Content-Type': 'application/json' };
      await fetch('/queue/join', { method: 'POST', headers, body: JSON.stringify({ room: data.room }) });
      location.replace(way.href);
    };
  }

  setTimeout(ask, 1000);
})();

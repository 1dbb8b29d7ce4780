// The waiting page's life: take the place, ask at the gate's pace, move the number, go in.
(() => {
  'use strict';
  const main = document.querySelector('main');
  const data = main.dataset;
  const lang = document.documentElement.lang;
  const count = new Intl.NumberFormat(lang);
  const calm = matchMedia('(prefers-reduced-motion: reduce)');

  const find = selector => main.querySelector(selector);
  const write = (name, text) => { find(`[data-at=${name}]`).textContent = text; };
  const note = (name, on) => { find(`[data-note=${name}]`).hidden = !on; };
  const fill = (text, values) => text.replace(/{(\w+)}/g, (_, name) => values[name]);
  const here = tag => find(`header:not([hidden]) ${tag}`);

  // Between two answers the number slides to the newest one and never below it:
  // it moves all the time, and never has to grow.
  let place = null;
  let truth = +data.position;
  let shown = truth;
  let first = +data.first || truth;
  let drawnAt = Date.now();
  let arriveAt = 0;

  function moveTo(number, position, within) {
    if (place !== number) {
      if (place || !truth) shown = first = position;
      place = number;
      recall();
    }
    truth = Math.min(position, Math.ceil(shown));
    drawnAt = Date.now();
    arriveAt = calm.matches ? 0 : drawnAt + within;
  }

  // Where the place began, so that a reload keeps the progress.
  function recall() {
    const key = `usher ${data.room} ${place}`;
    try {
      first = Math.max(first, sessionStorage[key] || 0);
      sessionStorage[key] = first;
    } catch {
      // Storage is switched off.
    }
  }

  function draw() {
    const now = Date.now();
    if (data.state === 'waiting' && truth) {
      const part = Math.max(0, (now - drawnAt) / (arriveAt - drawnAt));
      shown = now < arriveAt ? shown + (truth - shown) * part : truth;
      const position = count.format(Math.ceil(shown));
      write('position', position);
      find('progress').value = (first + 1 - shown) / first;
      document.title = fill(data.title, { position });
    } else {
      document.title = here('h1').textContent;
    }
    drawnAt = now;
    const seconds = Math.ceil((dueAt - now) / 1000);
    write('next', seconds > 0 && seconds < 100 ? fill(data.next, { seconds }) : '');
    const status = find('[role=status]');
    if (now - spokenAt < 60_000 || status.textContent === news) return;
    status.textContent = news;
    spokenAt = now;
  }

  function expected(eta) {
    if (!eta) return data.unknown;
    if (eta.high < 60) return data.underMinute;
    const [unit, size, edge] = eta.high < 7200 ? ['minute', 60, Math.ceil] : ['hour', 3600, Math.round];
    const format = new Intl.NumberFormat(lang, { style: 'unit', unit, unitDisplay: 'long' });
    const low = Math.max(1, Math.floor(eta.low / size));
    const high = edge(eta.high / size);
    const range = low < high && format.formatRange?.(low, high) || format.format(high);
    return fill(data.about, { range });
  }

  // To screen readers: the latest news, at most once a minute.
  let news = '';
  let spokenAt = Date.now();

  let joined = false;
  // Answers that did not know us: cookies may be blocked.
  let strangers = 0;
  let failures = 0;
  let request = null;
  let timer = 0;
  // The next question; before `soonest` the gate would call it too early.
  let dueAt = Infinity;
  let soonest = 0;

  function later(wait) {
    clearTimeout(timer);
    dueAt = Date.now() + wait;
    if (wait < Infinity) timer = setTimeout(next, wait);
  }

  function next() {
    if (joined) return ask(data.statusUrl);
    const way = data.returnTo === '.' ? location.pathname + location.search : data.returnTo;
    ask('/queue/join', { room: data.room, return_to: way || undefined });
  }

  async function ask(path, body) {
    request?.abort();
    const mine = request = new AbortController();
    const alarm = setTimeout(() => mine.abort(), 15_000);
    const post = body && { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
    let wait = 0;
    try {
      const response = await fetch(path, { cache: 'no-store', signal: mine.signal, ...post });
      const answer = await response.json().catch(() => ({}));
      if (mine === request) wait = read(response, answer);
    } catch {
      if (mine === request) wait = failed();
    }
    clearTimeout(alarm);
    if (mine !== request) return;
    request = null;
    later(wait);
  }

  // Every answer becomes the time to wait before the next question.
  function read(response, answer) {
    const retry = response.headers.get('Retry-After') * 1000 || 0;
    const early = response.status === 429;
    if (/^(full|closed)$/.test(answer.code)) answer.state = answer.code;
    if (!early && !answer.state) return Math.max(retry, failed());
    failures = 0;
    note('offline', false);
    const wait = early ? Math.max(retry, 1000) : answer.poll_after_ms || retry || 10_000;
    soonest = Date.now() + (early ? wait : wait / 2 + 100);
    return early ? wait : show(answer, wait);
  }

  function failed() {
    failures += 1;
    soonest = 0;
    note('offline', failures > 1 || !navigator.onLine);
    return Math.min(30_000, 1000 * 2 ** failures) * (0.5 + Math.random());
  }

  function show(status, wait) {
    note('paused', status.paused);
    note('degraded', status.degraded);
    const high = status.opens_in_seconds;
    note('opening', high);
    write('opening', expected({ high }));
    write('message', status.message || '');
    joined = status.state !== 'none';
    strangers = joined ? 0 : strangers + 1;
    turnTo(strangers > 3 ? 'blocked' : status.state);
    news = here('h1').textContent;
    switch (data.state) {
      case 'admitted': return enter(status.go);
      case 'blocked': return Math.max(wait, 10_000);
      case 'expired': case 'left': return Infinity;
      case 'waiting': showLine(status, wait);
    }
    return wait;
  }

  function showLine(status, wait) {
    const eta = expected(status.eta_seconds);
    write('wait', eta);
    // What is unknown is left out, by the style.
    for (const at of ['waiting', 'stock']) write(at, status[at] == null ? '' : count.format(status[at]));
    if (!status.position) return;
    moveTo(status.number, status.position, wait);
    news = fill(data.spoken, { position: count.format(truth), wait: eta });
  }

  function turnTo(state) {
    data.state = state;
    for (const part of main.querySelectorAll('[data-when]')) part.hidden = !part.dataset.when.split(' ').includes(state);
  }

  function enter(go) {
    let url = new URL(go || '/', location);
    if (url.origin !== location.origin) url = new URL('/', location);
    here('a').href = url;
    location.replace(url);
    // A mere change of fragment would load nothing.
    if (url.hash && url.href.split('#')[0] === location.href.split('#')[0]) location.reload();
    return Infinity;
  }

  // Somebody looks again, or the network is back: ask as soon as the gate allows.
  function wake() {
    if (!document.hidden && !request && dueAt < Infinity) later(Math.max(0, Math.min(dueAt, soonest) - Date.now()));
  }

  const over = () => data.state === 'expired' || data.state === 'left';

  main.addEventListener('click', event => {
    if (event.target.matches('button') && confirm(data.sure)) ask('/queue/leave', { room: data.room });
    if (!event.target.matches('a') || !over()) return;
    event.preventDefault();
    joined = false;
    turnTo('none');
    next();
  });
  for (const sign of ['visibilitychange', 'pageshow', 'online']) addEventListener(sign, wake);
  setInterval(draw, 200);

  // `Refresh` is for browsers without script: stop() takes it back. WebKit heeds
  // it only while something is loading, so an empty image is.
  addEventListener('load', () => setTimeout(() => {
    new Image().src = 'data:,';
    stop();
    turnTo(data.state);
    if (!over()) later(0);
  }));
})();

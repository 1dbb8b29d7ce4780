// The waiting page's life: take the place, ask at the gate's pace, move the number, go in.
(() => {
  'use strict';
  const main = document.querySelector('main');
  const data = main.dataset;
  const lang = document.documentElement.lang;
  const count = new Intl.NumberFormat(lang);
  const short = new Intl.NumberFormat(lang, { notation: 'compact' });
  const calm = matchMedia('(prefers-reduced-motion: reduce)');
  const said = JSON.parse(document.querySelector('[type$=json]').textContent);

  const find = selector => main.querySelector(selector);
  const write = (name, text) => { find(`[data-at=${name}]`).textContent = text; };
  const note = (name, on) => { find(`[data-note=${name}]`).hidden = !on; };
  const fill = (text, values) => text.replace(/{(\w+)}/g, (_, name) => values[name]);
  const [heading, detail, action] = find('header').children;

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

  const inLine = () => /^(waiting|near)$/.test(data.view);

  function draw() {
    const now = Date.now();
    if (inLine() && truth) {
      const part = Math.max(0, (now - drawnAt) / (arriveAt - drawnAt));
      shown = now < arriveAt ? shown + (truth - shown) * part : truth;
      const position = Math.ceil(shown);
      write('position', count.format(position));
      find('progress').value = (first + 1 - shown) / first;
      document.title = fill(data.title, { position: count.format(position) });
      paint(short.format(position));
    } else {
      document.title = heading.textContent;
      paint(data.view === 'admitted' ? '✓' : '…');
    }
    drawnAt = now;
    const seconds = Math.ceil((dueAt - now) / 1000);
    write('next', seconds > 0 && seconds < 100 ? fill(data.next, { seconds }) : '');
    if (now - spokenAt < 60_000) return;
    find('[role=status]').textContent = news;
    spokenAt = now;
  }

  // The tab's icon is the number too.
  let painted;
  function paint(text) {
    if (painted === text) return;
    painted = text;
    const board = document.createElement('canvas');
    board.width = board.height = 64;
    const pen = board.getContext('2d');
    pen.fillStyle = '#9c1c3c';
    pen.fillRect(0, 0, 64, 64);
    pen.fillStyle = '#fff';
    pen.textAlign = 'center';
    pen.font = `700 ${text.length > 2 ? 32 : 48}px sans-serif`;
    pen.fillText(text, 32, 46, 60);
    document.querySelector('[rel=icon]').href = board.toDataURL();
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
  let askedAt = 0;
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
    if (joined) return ask(`/queue/status?room=${data.room}`);
    const wanted = find('[name=return_to]').value;
    const way = wanted === '.' ? location.pathname + location.search : wanted;
    ask('/queue/join', { room: data.room, return_to: way || undefined });
  }

  async function ask(path, body) {
    request?.abort();
    clearTimeout(timer);
    const mine = request = new AbortController();
    const alarm = setTimeout(() => mine.abort(), 15_000);
    const post = body && { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
    let wait = 0;
    askedAt = Date.now();
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

  function viewOf({ state, reason, sold_out, position, eta_seconds }) {
    if (sold_out && /waiting|closed/.test(state)) return 'soldout';
    if (position && eta_seconds?.high < 60) return 'near';
    return strangers > 3 ? 'blocked' : reason || state;
  }

  function show(told, wait) {
    note('paused', told.paused && !told.sold_out);
    note('degraded', told.degraded);
    const high = told.opens_in_seconds;
    note('opening', high);
    write('opening', expected({ high }));
    write('message', told.message || '');
    joined = told.state !== 'none';
    strangers = joined ? 0 : strangers + 1;
    turnTo(viewOf(told), told.said);
    news = heading.textContent;
    if (over()) return Infinity;
    if (told.state === 'admitted') return enter(told.go);
    if (told.state === 'waiting') showLine(told, wait);
    return strangers > 3 ? Math.max(wait, 10_000) : wait;
  }

  function showLine(told, wait) {
    const eta = expected(told.eta_seconds);
    write('wait', eta);
    // What is unknown is left out, by the style.
    for (const at of ['waiting', 'stock']) write(at, told[at] == null ? '' : count.format(told[at]));
    if (!told.position) return;
    moveTo(told.number, told.position, wait);
    if (inLine()) news = fill(data.spoken, { position: count.format(truth), wait: eta });
  }

  // The words of what seldom happens come with the answer.
  function turnTo(view, told) {
    const words = told || said[view];
    data.view = view;
    if (words) {
      heading.textContent = words.heading;
      detail.textContent = words.text;
      action.textContent = words.action || '';
      action.hidden = !words.action;
    }
    for (const part of main.querySelectorAll('[data-when]')) part.hidden = !part.dataset.when.split(' ').includes(view);
    find('form').hidden = over();
  }

  // The turn has come. Who asked to be told, and looks elsewhere, is called until
  // they look here.
  function enter(go) {
    let url = new URL(go || '/', location);
    if (url.origin !== location.origin) url = new URL('/', location);
    action.href = url;
    const open = () => {
      location.replace(url);
      // A mere change of fragment would load nothing.
      if (url.hash && url.href.split('#')[0] === location.href.split('#')[0]) location.reload();
    };
    if (bell) {
      call();
      setTimeout(open, document.hidden ? 60_000 : 1500);
      document.onvisibilitychange = open;
    } else open();
    return Infinity;
  }

  let bell = null;
  function call() {
    for (let i = 0; i < 4; i++) {
      const tone = bell.createOscillator();
      const at = bell.currentTime + i * 0.4;
      tone.frequency.value = i % 2 ? 880 : 660;
      tone.connect(bell.destination);
      tone.start(at);
      tone.stop(at + 0.3);
    }
    try {
      new Notification(heading.textContent).onclick = () => focus();
    } catch { /* not allowed, or only by a service worker: sound and title tell */ }
  }

  function ring(button) {
    bell ??= new AudioContext();
    button.textContent = data.ringing;
    button.ariaPressed = true;
    // Phones may have none.
    globalThis.Notification?.requestPermission();
  }

  // Somebody looks again, or the network is back: ask as soon as the gate allows.
  // A question that slept through it all may never be answered.
  function wake() {
    if (document.hidden) return;
    if (request) {
      if (Date.now() - askedAt < 4000) return;
      request.abort();
      request = null;
    } else if (dueAt === Infinity) return;
    later(Math.max(0, Math.min(dueAt, soonest) - Date.now()));
  }

  const over = () => /^(evicted|missed|pass_ended|revoked|completed|moved|left|expired)$/.test(data.view);

  main.addEventListener('click', event => {
    const { target } = event;
    if (target.dataset.act === 'ring') ring(target);
    if (target.dataset.act === 'leave' && confirm(data.sure)) ask('/queue/leave', { room: data.room });
    if (target !== action || !over()) return;
    event.preventDefault();
    joined = false;
    turnTo('none');
    next();
  });
  for (const sign of ['visibilitychange', 'pageshow', 'online']) addEventListener(sign, wake);
  addEventListener('offline', () => note('offline', true));
  setInterval(draw, 200);

  // `Refresh` is for browsers without script: stop() takes it back. WebKit heeds
  // it only while something is loading, so an empty image is.
  addEventListener('load', () => setTimeout(() => {
    new Image().src = 'data:,';
    stop();
    turnTo(data.view);
    if (!over()) later(0);
  }));
})();

// The operators' page: follows the stream of samples, and steers rooms.
'use strict';
const find = (id) => document.getElementById(id);
const count = new Intl.NumberFormat('en');
const known = (n) => n == null ? '–' : count.format(n);
const rooms = new Map(); // name → { card, seen: [{at, waiting, admitted}], last }
const KEPT = 300; // samples of the curve

const ACTS = {
  pause: ['Pause {room}?', 'Nobody is let in until somebody resumes. People may still join and keep their places.'],
  resume: ['Resume {room}?', 'People are let in again, and a bypass ends.'],
  open: ['Open {room}?', 'People may join and are let in; pause, drain, close and an opening ahead are over.'],
  close: ['Close {room}?', 'Nobody joins and nobody is let in. Those in line keep their places, those inside stay.'],
  drain: ['Drain {room}?', 'Nobody joins any more; those in line are let in.'],
  bypass: ['Bypass {room}?', 'EVERYBODY reaches the app, without a line and without a limit, until somebody resumes.'],
  clear: ['Clear the line of {room}?', 'Every place and every pass ends, for good. There is no way back.'],
};

// Kept for this tab only.
const token = {
  get: () => sessionStorage.getItem('usher-admin-token'),
  set: (value) => value ? sessionStorage.setItem('usher-admin-token', value) : sessionStorage.removeItem('usher-admin-token'),
};

async function call(path, options = {}) {
  const headers = token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
  const response = await fetch(path, { cache: 'no-store', ...options, headers });
  if (response.status === 401) lock(token.get() ? 'That is not the token.' : '');
  return response;
}

function lock(why) {
  token.set(null);
  find('door').hidden = false;
  find('refused').textContent = why;
  find('token').focus();
}

find('door').addEventListener('submit', (event) => {
  event.preventDefault();
  token.set(find('token').value.trim());
  find('token').value = '';
  find('door').hidden = true;
  follow();
});

function live(text, lost) {
  find('live').textContent = text;
  find('live').classList.toggle('lost', lost);
}

// Reads server-sent events with fetch: an EventSource could not send the token.
let following = false;
let heardAt = 0;
async function follow() {
  if (following) return;
  following = true;
  for (let failures = 0; find('door').hidden; failures++) {
    const stop = new AbortController();
    // A stream that says nothing for 5 s is dead, whatever the connection says.
    const watch = setInterval(() => Date.now() - heardAt > 5000 && stop.abort(), 1000);
    heardAt = Date.now();
    try {
      const response = await call('/admin/v1/stream', { signal: stop.signal });
      if (response.ok) failures = 0;
      if (response.ok) await read(response.body.pipeThrough(new TextDecoderStream()).getReader());
    } catch { /* told below */ }
    clearInterval(watch);
    if (!find('door').hidden) break;
    live('No connection to the gate: these figures are old.', true);
    await new Promise((resolve) => setTimeout(resolve, Math.min(10_000, 500 * 2 ** failures)));
  }
  following = false;
  live('Locked', true);
}

async function read(reader) {
  refreshAudit();
  for (let text = ''; ;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (text + value).split('\n\n');
    text = events.pop();
    for (const event of events) {
      const data = event.split('\n').filter((line) => line.startsWith('data:')).map((line) => line.slice(5)).join('\n');
      if (data) show(JSON.parse(data));
    }
  }
}

function show({ at, rooms: list }) {
  heardAt = Date.now();
  live(`Live · ${new Date(at).toLocaleTimeString()}`, false);
  find('acts').hidden = false;
  for (const room of list) {
    if (!rooms.has(room.name)) rooms.set(room.name, { card: makeCard(room.name), seen: [] });
    const known = rooms.get(room.name);
    known.last = room;
    known.seen.push({ at, waiting: room.waiting ?? 0, admitted: room.admitted_total ?? 0 });
    if (known.seen.length > KEPT) known.seen.shift();
    draw(known);
  }
  for (const [name, { card }] of rooms) {
    if (list.some((room) => room.name === name)) continue;
    card.remove();
    rooms.delete(name);
  }
  const waiting = list.reduce((sum, room) => sum + (room.waiting ?? 0), 0);
  document.title = `${count.format(waiting)} waiting · Usher`;
}

const seconds = (ms) => ms == null ? '–' : ms < 90_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;

function draw({ card, seen, last: room }) {
  const write = (name, text) => {
    const at = card.querySelector(`[data-at=${name}]`);
    if (at.textContent !== text) at.textContent = text;
  };
  write('state', room.sold_out ? 'sold out' : room.draining && room.state === 'open' ? 'draining' : room.state);
  card.querySelector('.badge').dataset.state = room.state;
  write('mode', room.mode === 'always' ? '' : `mode ${room.mode}`);
  const warning = room.degraded ? 'The store is away: passes go on, nobody new is let in.'
    : room.state === 'bypass' ? 'Everybody reaches the app: there is no line.' : '';
  write('warning', warning);
  card.querySelector('.warn').hidden = !warning;
  for (const name of ['waiting', 'called', 'active']) write(name, known(room[name]));
  const minute = seen.find(({ at }) => seen.at(-1).at - at <= 60_000);
  const span = seen.at(-1).at - minute.at;
  write('pace', span < 5000 ? '–' : count.format(Math.round((seen.at(-1).admitted - minute.admitted) * 60_000 / span)));
  write('waits', `${seconds(room.wait_ms.p50)} / ${seconds(room.wait_ms.p95)}`);
  const inside = (room.active ?? 0) + (room.called ?? 0);
  card.querySelector('meter').value = room.capacity ? inside / room.capacity : 1;
  write('fullText', `${count.format(inside)} of ${count.format(room.capacity)}`);
  curve(card, seen);
  const all = Object.entries(room).filter(([, value]) => typeof value !== 'object');
  const list = card.querySelector('[data-at=all]');
  list.replaceChildren(...all.map(([key, value]) => {
    const [row, dt, dd] = ['div', 'dt', 'dd'].map((tag) => document.createElement(tag));
    dt.textContent = key.replaceAll('_', ' ');
    dd.textContent = typeof value === 'number' && key !== 'epoch' ? count.format(value) : value;
    row.append(dt, dd);
    return row;
  }));
  for (const input of card.querySelectorAll('.limits input')) {
    if (input !== document.activeElement && !input.dataset.touched) input.value = room[input.name] ?? '';
  }
}

function curve(card, seen) {
  const most = Math.max(1, ...seen.map(({ waiting }) => waiting));
  const least = Math.min(...seen.map(({ waiting }) => waiting));
  const points = seen.map(({ waiting }, i) => `${600 - 2 * (seen.length - 1 - i)},${78 - 76 * waiting / most}`);
  card.querySelector('polyline').setAttribute('points', points.join(' '));
  card.querySelector('[data-at=range]').textContent = `${count.format(least)} to ${count.format(most)}`;
}

function makeCard(name) {
  const card = find('room').content.firstElementChild.cloneNode(true);
  card.querySelector('[data-at=name]').textContent = name;
  card.dataset.room = name;
  card.querySelector('.acts').addEventListener('click', ({ target }) => target.dataset.act && act(name, target.dataset.act));
  const limits = card.querySelector('.limits');
  limits.addEventListener('input', ({ target }) => { target.dataset.touched = 1; });
  limits.addEventListener('submit', (event) => { event.preventDefault(); set(name, limits, false); });
  limits.addEventListener('reset', (event) => { event.preventDefault(); set(name, limits, true); });
  find('rooms').append(card);
  return card;
}

/** Asks, and answers whether it was meant; `typed` has to be typed for it. */
function sure(question, consequence, typed) {
  find('question').textContent = question;
  find('consequence').textContent = consequence;
  find('typed').hidden = !typed;
  find('name').value = '';
  const check = () => { find('yes').disabled = Boolean(typed) && find('name').value !== typed; };
  find('name').oninput = check;
  check();
  const dialog = find('sure');
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true }));
}

async function act(name, what) {
  const [question, consequence] = ACTS[what];
  if (!await sure(question.replace('{room}', name), consequence, what === 'clear' && name)) return;
  const body = what === 'clear' ? JSON.stringify({ confirm: name }) : '';
  await steer(name, `/${what}`, { method: 'POST', body });
}

async function set(name, form, back) {
  const change = {};
  for (const input of form.querySelectorAll('input')) {
    if (back) change[input.name] = null;
    else if (input.dataset.touched) {
      change[input.name] = input.value === '' ? null : input.type === 'number' ? Number(input.value) : input.value;
    }
  }
  const told = Object.entries(change).map(([key, value]) => `${key.replaceAll('_', ' ')}: ${value ?? 'as in the settings file'}`);
  if (!told.length) return;
  const isMeant = await sure(`Change ${name}?`, told.join(' · '));
  for (const input of form.querySelectorAll('input')) delete input.dataset.touched;
  if (isMeant) await steer(name, '', { method: 'PATCH', body: JSON.stringify(change) });
}

async function steer(name, path, options) {
  let why = '';
  try {
    const response = await call(`/admin/v1/rooms/${encodeURIComponent(name)}${path}`, options);
    if (!response.ok) why = (await response.json()).detail;
    else {
      const known = rooms.get(name);
      known.last = await response.json();
      draw(known);
    }
  } catch {
    why = 'The gate cannot be reached; nobody knows whether it was done.';
  }
  if (why) await sure('It was not done', why);
  refreshAudit();
}

const value = (change) => Object.entries(change).map(([key, value]) => `${key} ${JSON.stringify(value)}`).join(', ');

async function refreshAudit() {
  try {
    const response = await call('/admin/v1/audit');
    if (!response.ok) return;
    const { items } = await response.json();
    find('audit').replaceChildren(...items.slice(0, 50).map((entry) => {
      const row = document.createElement('tr');
      const change = Object.keys(entry.after).length ? `${value(entry.before)} → ${value(entry.after)}` : '';
      const outcome = entry.outcome === 'done' ? change : entry.outcome;
      for (const text of [new Date(entry.at).toLocaleString(), entry.who, entry.room ?? '', entry.act, outcome]) {
        row.insertCell().textContent = text;
      }
      return row;
    }));
  } catch { /* the stream tells whether the gate is there */ }
}
setInterval(() => document.hidden || find('acts').hidden || refreshAudit(), 10_000);

follow();

// From the list of events to tickets. Each view draws itself into <main>; what
// it leaves running stops when the next one begins.

import { Refused, beGuest, call, get, picture, post, postOnce, serverNow, session, signIn, signOut, signUp, topUp } from "./api.js";
import { drawSection, el } from "./hall.js";
import { watch } from "./live.js";
import { language, money, t, when } from "./words.js";

const MOST = 8;
const LOOK_AGAIN_MS = 3_000;
const WARN_MS = 20_000;

const main = document.getElementById("main");
const door = document.getElementById("door");
let leave = new AbortController();

document.documentElement.lang = language;
document.title = t("title");
document.getElementById("home").textContent = t("title");
document.getElementById("tickets-link").textContent = t("myTickets");

const say = (text) => (document.getElementById("say").textContent = text);

function alertUser(text) {
  const box = document.getElementById("alert");
  box.hidden = !text;
  box.replaceChildren(text ?? "");
  clearTimeout(alertUser.timer);
  if (text) alertUser.timer = setTimeout(() => (box.hidden = true), 8_000);
}

/** Draws a view and moves focus to it, so that it is read from its top. */
function show(...nodes) {
  leave.abort();
  leave = new AbortController();
  main.replaceChildren(...nodes);
  who();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** Repeats `work` until the next view; a missing connection is waited out. */
function every(ms, work) {
  const { signal } = leave;
  let timer;
  const turn = async () => {
    if (!document.hidden) await work().catch(explain);
    if (!signal.aborted) timer = setTimeout(turn, ms);
  };
  timer = setTimeout(turn, ms);
  signal.addEventListener("abort", () => clearTimeout(timer));
}

function who() {
  const node = document.getElementById("who");
  const account = session()?.account;
  node.replaceChildren(...(account
    ? [el("span", { class: "name" }, account.name), " ",
       el("button", { class: "link", type: "button", onclick: async () => { await signOut(); go("/"); } }, t("signOut"))]
    : []));
}

/** Says what went wrong, in kind words. */
function explain(error) {
  if (error instanceof TypeError) return alertUser(t("offline"));
  if (!(error instanceof Refused)) { alertUser(t("trouble")); throw error; }
  if (error.code === "waiting" || error.code === "pass_required") {
    return show(el("section", { class: "card" }, el("h1", {}, t("passOver")),
      el("a", { class: "button", href: "/" }, t("back"))));
  }
  alertUser(error.message);
}

function go(path) {
  history.pushState(null, "", path);
  route();
}

// ---- events ---------------------------------------------------------------

const free = (event) => event.sections.reduce((sum, section) => sum + section.available, 0);

async function drawEvents() {
  const { items } = await get("/api/events");
  show(el("h1", {}, t("events")), ...(items.length ? items.map(eventCard) : [el("p", {}, t("noEvents"))]));
}

function eventCard(event) {
  const open = event.sale_opens_at <= serverNow();
  const left = free(event);
  const prices = event.sections.map((section) => section.price);
  const [low, high] = [Math.min(...prices), Math.max(...prices)].map((price) => money(price, event.currency));
  return el("article", { class: "card event" },
    el("h2", {}, event.title),
    el("p", { class: "quiet" }, when(event.starts_at), el("br"), event.venue),
    el("p", {}, low === high ? low : `${low} – ${high}`),
    el("p", { class: "quiet" }, open ? (left ? t("left", { n: left }) : t("soldOut")) : t("opens", { when: when(event.sale_opens_at) })),
    el("a", { class: "button", href: `/events/${event.id}` }, t("choose")));
}

// ---- the hall -------------------------------------------------------------

async function drawHall(id) {
  const event = await get(`/api/events/${id}`);
  const seatsOf = async () => call("GET", `/api/events/${id}/seats`);
  let { json: { seats }, etag } = await seatsOf();
  const chosen = new Set();
  let section = null;
  let map = null;

  const cards = el("div", { class: "sections" });
  const plan = el("div", { class: "plan" });
  const bar = el("div", { class: "bar", hidden: true });
  const looking = el("p", { class: "quiet", id: "looking" });

  const choose = (seat) => {
    if (!chosen.delete(seat)) {
      if (chosen.size === MOST) return alertUser(t("most", { n: MOST }));
      chosen.add(seat);
    }
    map?.update(seats.filter((seat) => seat.section === section));
    drawBar();
  };
  const drawBar = () => {
    const picked = seats.filter((seat) => chosen.has(seat.id));
    const total = picked.reduce((sum, seat) => sum + seat.price, 0);
    bar.hidden = picked.length === 0;
    bar.replaceChildren(
      el("div", {}, el("strong", {}, `${t("selected", { n: picked.length })} · ${money(total, event.currency)}`),
        el("div", { class: "quiet" }, picked.map((seat) => seat.id).join(", "))),
      el("button", { class: "button", type: "button", onclick: () => take({ seats: [...chosen] }) }, t("hold")));
  };
  const drawCards = () => cards.replaceChildren(...event.sections.map((part) => {
    const left = seats.filter((seat) => seat.section === part.id && seat.status === "AVAILABLE").length;
    return el("button", {
      type: "button", class: "section", "aria-pressed": part.id === section, "aria-disabled": left === 0,
      onclick: () => open(part.id),
    }, el("strong", {}, part.name), el("span", {}, money(part.price, event.currency)),
    el("span", { class: "quiet" }, left ? t("left", { n: left }) : t("soldOut")));
  }));
  const open = (part) => {
    section = part;
    map = drawSection(seats.filter((seat) => seat.section === part), chosen, choose);
    plan.replaceChildren(el("div", { class: "stage" }, t("stage")), el("div", { class: "scroll" }, map.node));
    drawCards();
    const scroll = plan.querySelector(".scroll");
    scroll.scrollLeft = (scroll.scrollWidth - scroll.clientWidth) / 2;
  };
  const redraw = () => {
    const lost = seats.filter((seat) => chosen.has(seat.id) && seat.status !== "AVAILABLE").map((seat) => seat.id);
    lost.forEach((seat) => chosen.delete(seat));
    if (lost.length) alertUser(t("faster", { seats: lost.join(", ") }));
    map?.update(seats.filter((seat) => seat.section === section));
    drawCards();
    drawBar();
  };
  const refresh = async () => {
    const now = await seatsOf();
    if (now.etag === etag) return;
    ({ json: { seats }, etag } = now);
    redraw();
  };
  const take = (wish) => enter(async () => {
    try {
      const hold = await postOnce(`/api/events/${id}/holds`, wish);
      await buy(hold, event);
    } catch (error) {
      if (error.code !== "seats_taken" && error.code !== "none_left") throw error;
      await refresh().catch(() => {});
      alertUser(error.code === "none_left" ? error.message : t("faster", { seats: (error.body.seats ?? []).join(", ") }));
      (error.body.seats ?? []).forEach((seat) => chosen.delete(seat));
      drawBar();
    }
  });

  drawCards();
  show(
    el("h1", {}, event.title),
    el("p", { class: "quiet" }, when(event.starts_at), el("br"), event.venue),
    bestForm(event, take),
    el("h2", {}, t("pickSection")), looking, cards, plan, legend(), bar);
  if (event.sale_opens_at > serverNow()) alertUser(t("opens", { when: when(event.sale_opens_at) }));
  const live = watch(id, {
    seats: () => seats,
    apply(changes) {
      for (const { i, status } of changes) seats[i].status = status;
      redraw();
    },
    reload: () => refresh().catch(explain),
    people: (n) => (looking.textContent = t("looking", { n })),
    signal: leave.signal,
  });
  // Where no live map can be had, the list is asked for.
  every(LOOK_AGAIN_MS, async () => live.connected() || refresh());
}

function bestForm(event, take) {
  const count = el("select", { id: "count" }, ...[1, 2, 3, 4, 5, 6, 7, 8].map((n) => el("option", { selected: n === 2 }, String(n))));
  const part = el("select", { id: "part" }, el("option", { value: "" }, t("anywhere")),
    ...event.sections.map((section) => el("option", { value: section.id }, `${section.name} · ${money(section.price, event.currency)}`)));
  const button = el("button", { class: "button" }, t("bestGo", { n: 2 }));
  count.addEventListener("change", () => (button.textContent = t("bestGo", { n: count.value })));
  return el("form", {
    class: "card best",
    onsubmit: (submit) => {
      submit.preventDefault();
      take({ best: { count: Number(count.value), ...(part.value ? { section: part.value } : {}) } });
    },
  }, el("h2", {}, t("best")),
  el("div", { class: "fields" },
    el("label", { for: "count" }, t("people"), count),
    el("label", { for: "part" }, t("sections"), part)),
  button);
}

const legend = () => el("p", { class: "legend", "aria-hidden": "true" },
  ...[["AVAILABLE", t("AVAILABLE")], ["MINE", t("yours")], ["HELD", t("HELD")], ["SOLD", t("SOLD")]]
    .map(([status, word]) => el("span", {}, el("i", { class: "seat", "data-status": status }), " ", word)));

// ---- who is buying --------------------------------------------------------

/** Does `work` signed in, asking at the door if need be. */
async function enter(work) {
  const run = () => work().catch(explain);
  if (session()) return run();
  const attempt = (how) => async (event) => {
    event?.preventDefault();
    try {
      await how();
      door.close();
      who();
      await run();
    } catch (error) {
      door.querySelector(".door-error").textContent = error.message;
    }
  };
  const form = (title, how, named) => {
    const field = (id, type, label, complete) => el("label", { for: id }, label,
      el("input", { id, name: id, type, autocomplete: complete, required: true, minlength: type === "password" ? 8 : 1 }));
    const id = named ? "new" : "old";
    return el("details", {}, el("summary", {}, title), el("form", {
      class: "fields column",
      onsubmit: (event) => attempt(() => how(Object.fromEntries(new FormData(event.target))))(event),
    },
    ...(named ? [field("name", "text", t("name"), "name")] : []),
    field(`${id}-email`, "email", t("email"), "email"),
    field(`${id}-password`, "password", t("password"), named ? "new-password" : "current-password"),
    el("button", { class: "button" }, named ? t("signUp") : t("signIn"))));
  };
  door.replaceChildren(
    el("h2", { id: "door-title" }, t("doorTitle")),
    el("button", { class: "button wide", type: "button", onclick: attempt(() => beGuest(t("guestName"))) }, t("guest")),
    el("p", { class: "quiet" }, t("guestNote")),
    form(t("haveAccount"), (f) => signIn(f["old-email"], f["old-password"]), false),
    form(t("newAccount"), async (f) => { await signUp(f["new-email"], f["new-password"], f.name); await topUp(); }, true),
    el("p", { class: "door-error", role: "alert" }),
    el("button", { class: "link", type: "button", onclick: () => door.close() }, t("cancel")));
  door.showModal();
}

// ---- the hold -------------------------------------------------------------

/** Makes the order of a hold and shows it. */
async function buy(hold, event) {
  const order = await postOnce("/api/orders", { hold_id: hold.hold_id });
  sessionStorage.setItem("hold", hold.hold_id);
  await drawOrder(order, hold.hold_id, event);
  if (!hold.together && hold.seats.length > 1) alertUser(t("apart", { n: hold.seats.length }));
}

async function drawOrder(order, holdId, event) {
  let ends = order.expires_at;
  let warned = false;
  let busy = false;
  let { balance } = await get("/api/wallet");
  const clock = el("strong", { class: "clock", role: "timer" });
  const purse = el("p", { class: "quiet" });
  const payButton = el("button", { class: "button wide", type: "button" });
  const topUpButton = el("button", { class: "button second", type: "button" }, t("topUp"));
  const drawPurse = () => {
    const enough = balance >= order.amount;
    purse.textContent = t("balance", { amount: money(balance, order.currency) });
    payButton.textContent = t("pay", { amount: money(order.amount, order.currency) });
    payButton.disabled = !enough || busy;
    topUpButton.hidden = enough;
  };
  const tick = () => {
    const left = ends - serverNow();
    const seconds = Math.max(0, Math.ceil(left / 1_000));
    clock.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    clock.classList.toggle("late", left < WARN_MS);
    if (left < WARN_MS && !warned) { warned = true; say(t("warn")); alertUser(t("warn")); }
    if (left <= 0 && !busy) { sessionStorage.removeItem("hold"); alertUser(t("over")); go(`/events/${event.id}`); }
  };
  topUpButton.addEventListener("click", async () => {
    try { ({ balance } = await topUp()); drawPurse(); } catch (error) { explain(error); }
  });
  payButton.addEventListener("click", async () => {
    busy = true;
    payButton.textContent = t("paying");
    payButton.disabled = true;
    try { await payAndWait(order, event); } catch (error) { busy = false; drawPurse(); explain(error); }
  });
  const more = async () => {
    try {
      const before = ends;
      ({ expires_at: ends } = await post(`/api/holds/${holdId}/extend`));
      warned = false;
      alertUser(ends > before ? t("moreDone") : t("moreNot"));
    } catch (error) { explain(error); }
  };
  const back = async () => {
    await call("DELETE", `/api/holds/${holdId}`).catch(() => {});
    sessionStorage.removeItem("hold");
    go(`/events/${event.id}`);
  };
  drawPurse();
  show(el("section", { class: "card" },
    el("h1", {}, t("held")),
    el("p", {}, `${t("timeLeft")}: `, clock, " ", holdId ? el("button", { class: "link", type: "button", onclick: more }, t("more")) : null),
    el("ul", { class: "items" }, ...order.items.map((item) =>
      el("li", {}, el("span", {}, item.seat), el("span", {}, money(item.price, order.currency))))),
    el("p", { class: "items total" }, el("span", {}, t("total")), el("strong", {}, money(order.amount, order.currency))),
    purse, topUpButton, payButton,
    holdId ? el("button", { class: "link", type: "button", onclick: back }, t("giveBack")) : null));
  tick();
  const timer = setInterval(tick, 250);
  leave.signal.addEventListener("abort", () => clearInterval(timer));
}

async function payAndWait(order, event) {
  const { request_id: id } = await postOnce("/api/payments", { order_id: order.order_id, method: "points" });
  for (let wait = 150; ; wait = Math.min(wait * 1.5, 2_000)) {
    await new Promise((done) => setTimeout(done, wait));
    const status = await get(`/api/payments/${id}/status`).catch((error) => {
      if (error instanceof TypeError || error.status >= 500) return { status: "PENDING" };
      throw error;
    });
    if (status.status === "PENDING") continue;
    sessionStorage.removeItem("hold");
    if (status.status === "COMPLETED") return drawTickets(t("paid"), status.tickets);
    go(`/events/${event.id}`);
    return alertUser(`${t("failed")} ${status.reason === "insufficient_funds" ? t("insufficient_funds") : ""}`);
  }
}

// ---- tickets --------------------------------------------------------------

function drawTickets(title, tickets) {
  history.replaceState(null, "", "/tickets");
  show(el("h1", {}, title), ...(tickets.length ? tickets.map(ticketCard) : [el("p", {}, t("noTickets"))]),
    el("a", { class: "button second", href: "/" }, t("events")));
  say(title);
}

function ticketCard(ticket) {
  const card = el("article", { class: "card ticket", "data-status": ticket.status },
    el("h2", {}, ticket.seat),
    el("p", {}, ticket.title, el("br"), el("span", { class: "quiet" }, when(ticket.starts_at), el("br"), ticket.venue)),
    el("p", { class: "quiet" }, `${t(ticket.status)} · ${t("code")} `, el("code", {}, ticket.code)));
  if (ticket.status === "VALID") {
    // The written code stays good when the picture does not come.
    picture(ticket.qr).then((src) => card.append(el("img", { class: "qr", src, alt: t("code") })), () => {});
  }
  return card;
}

async function drawMine() {
  if (!session()) return drawTickets(t("ticketsOf"), []);
  const { items } = await get("/api/me/tickets?limit=100");
  drawTickets(t("ticketsOf"), items);
}

/** An order that was begun before this page was loaded again. */
async function unfinished() {
  if (!session()) return null;
  const { items } = await get("/api/orders?limit=1").catch(() => ({ items: [] }));
  return items.find((order) => order.status === "PENDING" && order.expires_at > serverNow());
}

// ---- routes ---------------------------------------------------------------

async function route() {
  alertUser(null);
  try {
    const event = location.pathname.match(/^\/events\/([^/]+)$/)?.[1];
    if (location.pathname === "/tickets") return await drawMine();
    const order = await unfinished();
    if (order) return await drawOrder(order, sessionStorage.getItem("hold"), { id: order.event_id });
    return await (event ? drawHall(event) : drawEvents());
  } catch (error) {
    explain(error);
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/']");
  if (!link || link.pathname.startsWith("/api") || event.metaKey || event.ctrlKey) return;
  event.preventDefault();
  go(link.pathname + location.search);
});
addEventListener("popstate", route);
route();

// One event: its house as a map or a list, what is chosen in it, and how it changes.

import { get, postOnce, serverNow } from "../api.js";
import { enter } from "../door.js";
import { el } from "../element.js";
import { watch } from "../live.js";
import { buy } from "../purchase.js";
import { askCount, bestForm } from "../seats/best.js";
import { choiceBar } from "../seats/choice.js";
import { legend } from "../seats/legend.js";
import { seatList } from "../seats/list.js";
import { seatMap } from "../seats/map.js";
import { seatName, seatWords, signWords } from "../seats/names.js";
import { nearest } from "../seats/nearest.js";
import { offerBox } from "../seats/offer.js";
import { place } from "../seats/place.js";
import { AVAILABLE, Plan, STATUSES, unpack } from "../seats/plan.js";
import { alertUser, say } from "../shell.js";
import { t, when } from "../words.js";

const LOOK_AGAIN_MS = 3_000;
const AS_LIST = "usher-seats-as-list";
/** The longest that a timer can wait. */
const LONGEST_MS = 2 ** 31 - 1;

export async function draw(page, id) {
  const [event, answer] = await Promise.all([get(`/api/events/${id}`), get(`/api/events/${id}/plan`)]);
  if (!page.signal.aborted) new House(page, event, answer).open();
}

class House {
  constructor(page, event, answer) {
    Object.assign(this, { page, event, mine: new Set(), accessible: false, asList: localStorage.getItem(AS_LIST) === "yes", busy: false });
    const { currency } = event;
    this.bar = choiceBar({ currency, remove: (i) => this.pick(i), hold: () => this.holdMine() });
    this.offer = offerBox({ currency, closed: () => this.map.offer([]) });
    this.looking = el("p", { class: "quiet", id: "looking" });
    this.news = el("p", { class: "news", role: "status", hidden: true });
    this.dialog = el("dialog", { class: "sheet", "aria-labelledby": "count-title" });
    this.hall = el("div", { class: "hall" });
    this.side = el("div", { class: "side" });
    this.build(answer);
    page.signal.addEventListener("abort", () => this.built.abort());
  }

  open() {
    const { page, event } = this;
    const house = el("div", { class: "house" },
      el("header", { class: "house-head" },
        el("h1", {}, el("bdi", {}, event.title)),
        el("p", { class: "quiet" }, when(event.starts_at), " · ", el("bdi", {}, event.venue)), this.looking, this.news),
      this.side, this.hall, el("div", { class: "desk" }, this.offer.node, this.bar.node), this.dialog);
    page.show(event.title, house);
    // What is above it may come and go; the house has the rest of the window.
    const above = new ResizeObserver(() =>
      house.style.setProperty("--above", `${Math.ceil(house.getBoundingClientRect().top + scrollY)}px`));
    above.observe(document.body);
    page.signal.addEventListener("abort", () => above.disconnect());
    const live = watch(event.id, {
      snapshot: (seats) => this.take(unpack(seats, this.plan.count)),
      delta: (seats) => this.takeSome(seats),
      people: (n) => (this.looking.textContent = t("seats.looking", { n })),
      signal: page.signal,
    });
    // Where no live map can be had, the plan is asked for.
    page.every(LOOK_AGAIN_MS, async () => live.connected() || this.refresh());
    this.waitForSale();
  }

  // ---- what is drawn ------------------------------------------------------

  /** Draws the house of this plan; what was chosen, and where one was, stays. */
  build(answer) {
    const { event: { currency }, mine, map, list } = this;
    const ids = this.plan ? [...mine].map((i) => this.plan.seat(i).id) : [];
    const hadFocus = map?.node.contains(document.activeElement);
    if (this.plan) this.offer.close();
    this.built?.abort();
    const { signal } = this.built = new AbortController();
    const plan = this.plan = new Plan(answer);
    const places = this.places = place(plan, innerWidth < 700 ? 0.8 : 1.3);
    mine.clear();
    ids.map((each) => plan.indexOf(each)).filter((i) => i >= 0).forEach((i) => mine.add(i));
    const shared = { plan, places, mine, currency, signal, say, pick: (i) => this.pick(i), count: (section) => this.askCount(section) };
    this.map = seatMap({
      ...shared, tell: (i) => seatWords(plan.seat(i), currency, mine.has(i)), sign: (section) => signWords(section, currency),
    });
    this.list = seatList(shared);
    this.list.open(list?.opened() ?? []);
    if (map) this.map.camera.lookAs(map.camera);
    this.best = bestForm({ plan, currency, take: (best) => this.hold({ best }) });
    this.drawSide(signal);
    this.drawHall();
    this.drawState();
    if (hadFocus) this.map.focus();
  }

  drawSide(signal) {
    const { plan, event } = this;
    const view = (asList, word) => el("button", {
      type: "button", "aria-pressed": String(this.asList === asList),
      onclick: (click) => {
        this.asList = asList;
        localStorage.setItem(AS_LIST, asList ? "yes" : "no");
        this.drawHall();
        for (const each of click.target.parentNode.children) each.setAttribute("aria-pressed", each === click.target);
      },
    }, word);
    const wide = matchMedia("(min-width: 60rem)");
    const best = el("details", { class: "best", open: wide.matches }, el("summary", {}, t("seats.best")), this.best.node,
      plan.rows.some((row) => row.accessible.size > 0) ? this.accessibleBox() : null);
    wide.addEventListener("change", () => (best.open = wide.matches), { signal });
    this.side.replaceChildren(
      el("div", { class: "views", role: "group", "aria-label": t("seats.view") },
        view(false, t("seats.asMap")), view(true, t("seats.asList"))),
      best, legend({ plan, currency: event.currency, signal }));
  }

  accessibleBox() {
    const box = el("input", { type: "checkbox", checked: this.accessible, onchange: () => (this.accessible = box.checked) });
    return el("label", { class: "check" }, box, t("seats.needAccessible"));
  }

  drawHall() {
    this.hall.replaceChildren(this.asList ? this.list.node : this.map.node);
    this.hall.classList.toggle("as-list", this.asList);
  }

  /** Draws what is chosen and whether anything can be had. */
  drawState() {
    const { plan, event } = this;
    const opensLater = event.sale_opens_at > serverNow();
    const soldOut = plan.free === 0 && plan.sections.every(({ kind }) => kind !== "expandable");
    const closed = this.closed = opensLater && t("seats.notYet");
    this.bar.draw([...this.mine].map((i) => plan.seat(i)), closed);
    this.best.close(Boolean(closed) || soldOut);
    const news = opensLater ? t("events.opens", { when: when(event.sale_opens_at) }) : soldOut ? t("seats.soldOut") : "";
    if (this.news.textContent !== news) this.news.textContent = news;
    this.news.hidden = !news;
  }

  drawMine() {
    this.map.redraw();
    this.list.redraw();
    this.drawState();
  }

  /** Opens the sale on this page when its time comes. */
  waitForSale() {
    const { page, event } = this;
    const wait = event.sale_opens_at - serverNow();
    if (wait <= 0) return;
    const timer = setTimeout(() => { this.drawState(); this.waitForSale(); }, Math.min(wait + 50, LONGEST_MS));
    page.signal.addEventListener("abort", () => clearTimeout(timer));
  }

  // ---- what changes -------------------------------------------------------

  /** All seats stand like this now; `null` when the house has another shape. */
  take(statuses) {
    if (!statuses) return this.refresh().catch((error) => this.page.explain(error));
    this.changed(this.plan.apply(statuses));
  }

  takeSome(seats) {
    const found = seats.map(([id, status]) => [this.plan.indexOf(id), STATUSES.indexOf(status)]);
    if (found.some(([i]) => i < 0)) return this.take(null);
    this.changed(found.filter(([i, status]) => this.plan.set(i, status)).map(([i]) => i));
  }

  async refresh() {
    const answer = await get(`/api/events/${this.event.id}/plan`);
    if (this.page.signal.aborted) return;
    const statuses = answer.layout === this.plan.layout && unpack(answer.seats, this.plan.count);
    if (statuses) this.changed(this.plan.apply(statuses));
    else this.build(answer);
  }

  changed(seats) {
    if (seats.length === 0) return;
    this.map.changed(seats);
    this.list.changed(seats);
    // While seats are being held, it may be us who took them.
    if (!this.busy) this.lose(this.gone(), false);
    if (this.offer.open) this.again();
    this.drawState();
  }

  /** These of the chosen seats are gone: says so, and offers others beside. */
  lose(lost, afterHold) {
    if (lost.length === 0) return;
    const wanted = [...this.mine];
    lost.forEach((i) => this.mine.delete(i));
    this.offerOthers(lost, wanted, afterHold);
    this.drawMine();
  }

  /** Offers as many seats as were wanted, as near as can be; anew when one of them goes, too. */
  offerOthers(lost, wanted, afterHold) {
    const { plan, places, mine } = this;
    const seats = nearest(plan, places, wanted, (i) => this.accessible || !plan.isAccessible(i));
    this.offer.show({
      lost: lost.map((i) => plan.seat(i)), seats: seats.map((i) => plan.seat(i)), nothingHeld: afterHold,
      word: t(afterHold ? "seats.holdThese" : "seats.chooseThese"),
      act: () => {
        mine.clear();
        seats.forEach((i) => mine.add(i));
        this.drawMine();
        if (afterHold) this.holdMine();
        else say(t("seats.selected", { n: seats.length }));
      },
    });
    this.map.offer(seats);
    this.again = () => seats.some((i) => plan.statuses[i] !== AVAILABLE) && this.offerOthers(lost, wanted, afterHold);
  }

  // ---- what the visitor does ----------------------------------------------

  pick(i) {
    const { plan, mine } = this;
    if (mine.delete(i)) {
      say(seatWords(plan.seat(i), this.event.currency, false));
      return this.drawMine();
    }
    const seat = plan.seat(i);
    if (seat.status !== AVAILABLE) return alertUser(seatWords(seat, this.event.currency, false));
    if (seat.accessible && !this.accessible) return alertUser(t("seats.accessibleOnly", { seat: seatName(seat) }));
    if (mine.size >= plan.most) return alertUser(t("seats.most", { n: plan.most }));
    alertUser(null);
    mine.add(i);
    say(seatWords(seat, this.event.currency, true));
    this.drawMine();
  }

  askCount(section) {
    const { dialog, plan: { most }, event: { currency }, closed } = this;
    askCount({ dialog, section, most, currency, closed, take: (best) => this.hold({ best }, true) });
  }

  holdMine() {
    return this.hold({ seats: [...this.mine].map((i) => this.plan.seat(i).id) });
  }

  /** Holds seats and goes to pay; `anyPlace` where sitting together means nothing. */
  hold(wish, anyPlace = false) {
    return enter(this.page, async () => {
      if (this.busy) return;
      this.busy = true;
      try {
        const hold = await postOnce(`/api/events/${this.event.id}/holds`, { ...wish, ...(this.accessible ? { accessible: true } : {}) });
        await buy(hold, anyPlace ? null : arrangement(hold, wish));
      } catch (error) {
        if (error.code !== "seats_taken") throw error;
        await this.refresh().catch(() => {});
        this.lose(this.gone(error.body.seats), true);
      } finally {
        this.busy = false;
        if (!this.page.signal.aborted) this.lose(this.gone(), false);
      }
    });
  }

  /** Those chosen seats that somebody else has, as far as we know or were `told`. */
  gone(told = []) {
    return [...this.mine].filter((i) => this.plan.statuses[i] !== AVAILABLE || told.includes(this.plan.seat(i).id));
  }
}

/** How the seats that were found for somebody lie. */
function arrangement(hold, wish) {
  if (!wish.best) return null;
  return hold.seats.length === 1 ? t("arrangement.alone") : t(`arrangement.${hold.arrangement}`, { n: hold.seats.length });
}

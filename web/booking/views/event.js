// One event: its seats as they stand, chosen one by one or found together.

import { call, get, postOnce, serverNow } from "../api.js";
import { enter } from "../door.js";
import { el } from "../element.js";
import { drawSection } from "../hall.js";
import { watch } from "../live.js";
import { buy } from "../purchase.js";
import { alertUser } from "../shell.js";
import { money, t, when } from "../words.js";

const MOST = 8;
const LOOK_AGAIN_MS = 3_000;

export async function draw(page, id) {
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
      if (chosen.size === MOST) return alertUser(t("hall.most", { n: MOST }));
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
      el("div", {}, el("strong", {}, `${t("hall.selected", { n: picked.length })} · ${money(total, event.currency)}`),
        el("div", { class: "quiet" }, picked.map((seat) => seat.id).join(", "))),
      el("button", { class: "button", type: "button", onclick: () => take({ seats: [...chosen] }) }, t("hall.hold")));
  };
  const drawCards = () => cards.replaceChildren(...event.sections.map((part) => {
    const left = seats.filter((seat) => seat.section === part.id && seat.status === "AVAILABLE").length;
    return el("button", {
      type: "button", class: "section", "aria-pressed": part.id === section, "aria-disabled": left === 0,
      onclick: () => open(part.id),
    }, el("strong", {}, part.name), el("span", {}, money(part.price, event.currency)),
    el("span", { class: "quiet" }, left ? t("events.left", { n: left }) : t("events.soldOut")));
  }));
  const open = (part) => {
    section = part;
    map = drawSection(seats.filter((seat) => seat.section === part), chosen, choose);
    plan.replaceChildren(el("div", { class: "stage" }, t("hall.stage")), el("div", { class: "scroll" }, map.node));
    drawCards();
    const scroll = plan.querySelector(".scroll");
    scroll.scrollLeft = (scroll.scrollWidth - scroll.clientWidth) / 2;
  };
  const redraw = () => {
    const lost = seats.filter((seat) => chosen.has(seat.id) && seat.status !== "AVAILABLE").map((seat) => seat.id);
    lost.forEach((seat) => chosen.delete(seat));
    if (lost.length) alertUser(t("hall.faster", { seats: lost.join(", ") }));
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
  const take = (wish) => enter(page, async () => {
    try {
      const hold = await postOnce(`/api/events/${id}/holds`, wish);
      await buy(hold);
    } catch (error) {
      if (error.code !== "seats_taken" && error.code !== "none_left") throw error;
      await refresh().catch(() => {});
      alertUser(error.code === "none_left" ? error.message : t("hall.faster", { seats: (error.body.seats ?? []).join(", ") }));
      (error.body.seats ?? []).forEach((seat) => chosen.delete(seat));
      drawBar();
    }
  });

  drawCards();
  page.show(event.title,
    el("h1", {}, event.title),
    el("p", { class: "quiet" }, when(event.starts_at), el("br"), event.venue),
    bestForm(event, take),
    el("h2", {}, t("hall.pickSection")), looking, cards, plan, legend(), bar);
  if (event.sale_opens_at > serverNow()) alertUser(t("events.opens", { when: when(event.sale_opens_at) }));
  const live = watch(id, {
    seats: () => seats,
    apply(changes) {
      for (const { i, status } of changes) seats[i].status = status;
      redraw();
    },
    reload: () => refresh().catch((error) => page.explain(error)),
    people: (n) => (looking.textContent = t("hall.looking", { n })),
    signal: page.signal,
  });
  // Where no live map can be had, the list is asked for.
  page.every(LOOK_AGAIN_MS, async () => live.connected() || refresh());
}

function bestForm(event, take) {
  const count = el("select", { id: "count" }, ...[1, 2, 3, 4, 5, 6, 7, 8].map((n) => el("option", { selected: n === 2 }, String(n))));
  const part = el("select", { id: "part" }, el("option", { value: "" }, t("hall.anywhere")),
    ...event.sections.map((section) => el("option", { value: section.id }, `${section.name} · ${money(section.price, event.currency)}`)));
  const button = el("button", { class: "button" }, t("hall.bestGo", { n: 2 }));
  count.addEventListener("change", () => (button.textContent = t("hall.bestGo", { n: count.value })));
  return el("form", {
    class: "card best",
    onsubmit: (submit) => {
      submit.preventDefault();
      take({ best: { count: Number(count.value), ...(part.value ? { section: part.value } : {}) } });
    },
  }, el("h2", {}, t("hall.best")),
  el("div", { class: "fields" },
    el("label", { for: "count" }, t("hall.people"), count),
    el("label", { for: "part" }, t("hall.sections"), part)),
  button);
}

const legend = () => el("p", { class: "legend", "aria-hidden": "true" },
  ...[["AVAILABLE", t("hall.AVAILABLE")], ["MINE", t("hall.yours")], ["HELD", t("hall.HELD")], ["SOLD", t("hall.SOLD")]]
    .map(([status, word]) => el("span", {}, el("i", { class: "seat", "data-status": status }), " ", word)));

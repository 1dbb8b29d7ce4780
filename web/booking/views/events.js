// What is on sale.

import { get, serverNow } from "../api.js";
import { el } from "../element.js";
import { money, t, when } from "../words.js";
import { resume } from "../purchase.js";

export async function draw(page) {
  if (await resume()) return;
  const { items } = await get("/api/events?limit=100");
  page.show("", el("h1", {}, t("events.title")), ...(items.length ? items.map(eventCard) : [el("p", {}, t("events.none"))]));
}

const free = (event) => event.sections.reduce((sum, section) => sum + section.available, 0);

function eventCard(event) {
  const open = event.sale_opens_at <= serverNow();
  const left = free(event);
  const prices = event.sections.map((section) => section.price);
  const [low, high] = [Math.min(...prices), Math.max(...prices)].map((price) => money(price, event.currency));
  return el("article", { class: "card event" },
    el("h2", { dir: "auto" }, event.title),
    el("p", { class: "quiet" }, when(event.starts_at), el("br"), el("bdi", {}, event.venue)),
    el("p", {}, low === high ? low : `${low} – ${high}`),
    el("p", { class: "quiet" }, open ? (left ? t("events.left", { n: left }) : t("events.soldOut")) : t("events.opens", { when: when(event.sale_opens_at) })),
    el("a", { class: "button", href: `/events/${event.id}` }, t("events.choose")));
}

// Tickets without a seat: how many, and what they cost.

import { get } from "../api.js";
import { enter } from "../door.js";
import { el } from "../element.js";
import { button, head } from "../parts.js";
import { reserve } from "../purchase.js";
import { alertUser } from "../shell.js";
import { money, number, t } from "../words.js";
import { left, price } from "./events.js";

const MOST = 8;
const LOOK_AGAIN_MS = 5_000;

export async function draw(page, id) {
  let offer = await get(`/api/tickets/${id}`);
  let count = 1;
  const stock = el("p", { role: "status" });
  const choice = el("select", { id: "count", onchange: () => { count = Number(choice.value); redraw(); } });
  const total = el("strong", {});
  const take = button("", () => enter(page, async () => {
    try {
      await reserve(id, count);
    } catch (error) {
      if (error.code !== "sold_out") throw error;
      await refresh().catch(() => {});
      if (left(offer)) alertUser(t("admission.fewer", { n: left(offer) }));
    }
  }), { kind: "wide" });
  const form = el("div", {},
    el("label", { for: "count" }, t("admission.count"), choice),
    el("p", { class: "items total" }, el("span", {}, t("checkout.total")), total), take);
  const redraw = () => {
    const n = left(offer);
    const most = Math.min(MOST, n);
    count = Math.max(1, Math.min(count, most));
    stock.textContent = n ? t("admission.left", { n }) : t("admission.soldOut");
    form.hidden = n === 0;
    if (choice.length !== most) choice.replaceChildren(...Array.from({ length: most }, (_, i) => el("option", { value: i + 1 }, number(i + 1))));
    choice.value = count;
    total.textContent = offer.price ? money(offer.price * count, offer.currency) : t("events.free");
    take.textContent = t("admission.take", { n: count });
  };
  const refresh = async () => {
    offer = await get(`/api/tickets/${id}`);
    redraw();
  };
  redraw();
  page.show(offer.title,
    head({ title: offer.title, venue: offer.title, starts_at: offer.event_time }),
    el("section", { class: "card" },
      el("p", {}, offer.price ? t("admission.each", { price: price(offer) }) : price(offer)), stock, form));
  page.every(LOOK_AGAIN_MS, refresh);
}

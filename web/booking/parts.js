// What several views show alike: an event's head, what an order is of, its state.

import { el } from "./element.js";
import { money, t, when } from "./words.js";

/** Title, time and place of an event, an order or a ticket. */
export function head(of, level = "h1") {
  return el("header", { class: "head" },
    el(level, { dir: "auto" }, of.title),
    el("p", { class: "quiet" }, when(of.starts_at),
      // An offer without seats has its own name for a venue.
      ...(of.venue === of.title ? [] : [el("br"), el("bdi", {}, of.venue)])));
}

/** A seat, for people: `item` as in an order, which knows section, row and number. */
export function seatName(item, kind) {
  const n = String(item.number);
  if (kind === "admission") return el("span", {}, t("parts.ticket", { n }));
  const where = item.row ? t("parts.seat", { row: item.row, n }) : t("parts.place", { n });
  return el("span", { class: "seat-name" }, el("bdi", {}, item.section_name), " ", el("span", {}, where));
}

/** The same in one line, for a sentence. */
export const seatWords = (item, kind) => seatName(item, kind).textContent;

/** The state of an order as a word in a frame. */
export const badge = (order) => el("span", { class: "badge", "data-status": order.status }, t(`order.${order.status}`));

/** What an order is of, and what it costs. */
export function bill(order) {
  const state = (item) => {
    if (!item.refunded) return null;
    const words = item.fee ? t("order.fee", { amount: money(item.fee, order.currency) }) : t("order.gaveBack");
    return el("span", { class: "quiet" }, ` (${words})`);
  };
  return el("div", {},
    el("ul", { class: "items" }, ...order.items.map((item) => el("li", { "data-back": item.refunded },
      el("span", {}, seatName(item, order.kind), state(item)),
      el("span", { class: "price" }, money(item.price, order.currency))))),
    el("p", { class: "items total" }, el("span", {}, t("checkout.total")),
      el("strong", {}, money(order.amount, order.currency))));
}

/** A card that says something, with what can be done about it. */
export const notice = (title, text, ...actions) => el("section", { class: "card notice" },
  el("h1", {}, title), text ? el("p", {}, text) : null, el("p", { class: "actions" }, ...actions));

/** A button that waits for what it began, and cannot begin it twice; it keeps the focus. */
export function button(text, onclick, { kind = "" } = {}) {
  const node = el("button", { class: `button ${kind}`.trim(), type: "button" }, text);
  node.addEventListener("click", async () => {
    if (node.ariaDisabled === "true") return;
    node.ariaDisabled = "true";
    try {
      await onclick();
    } finally {
      node.ariaDisabled = null;
    }
  });
  return node;
}

/** Minutes and seconds. */
export function clock(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1_000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

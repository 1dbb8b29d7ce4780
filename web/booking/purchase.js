// From seats on hold to an order; and back to it from any other page.

import { get, postOnce, serverNow, session } from "./api.js";
import { el } from "./element.js";
import { clock } from "./parts.js";
import { alertUser, go } from "./shell.js";
import { t } from "./words.js";

/** Makes the order of a hold, as `POST /api/events/{id}/holds` answers it, and goes to pay for it, with a word about it. */
export async function buy(hold, word = null) {
  const order = await postOnce("/api/orders", { hold_id: hold.hold_id });
  await go(`/checkout/${order.order_id}`);
  if (word) alertUser(word);
}

/** Takes so many tickets of an offer without seats, and goes to pay for them. */
export async function reserve(offer, quantity) {
  const made = await postOnce(`/api/tickets/${offer}/reservations`, { quantity });
  if (made.status !== "PAID") return go(`/checkout/${made.order_id}`);
  await go(`/orders/${made.order_id}`);
  alertUser(t("order.thanks"));
}

/** Tries to get what an order was of once more. */
export async function sameAgain(order) {
  if (order.kind === "admission") return reserve(order.event_id, order.items.length);
  return buy(await postOnce(`/api/events/${order.event_id}/holds`, { seats: order.items.map((item) => item.seat) }));
}

/** Where what an order was of can be chosen anew. */
export const shelf = (order) => `/${order.kind === "admission" ? "admission" : "events"}/${order.event_id}`;

/** On every page but the checkout: what is on hold for this fan, and for how long. */
export async function remind(page) {
  const box = document.getElementById("kept");
  box.hidden = true;
  if (!session() || location.pathname.startsWith("/checkout/")) return;
  const { items } = await get("/api/orders?limit=1").catch(() => ({ items: [] }));
  const order = items.find(({ status }) => status === "PENDING" || status === "PAYING");
  if (!order || page.signal.aborted) return;
  const words = el("span", {});
  box.replaceChildren(words, " ", el("a", { href: `/checkout/${order.order_id}` }, t("kept.go")));
  const tick = () => {
    const left = order.expires_at - serverNow();
    const key = order.kind === "admission" ? "kept.tickets" : "kept.seats";
    words.textContent = order.status === "PAYING" ? t("kept.paying") : t(key, { n: order.items.length, time: clock(left) });
    box.hidden = order.status === "PENDING" && left <= 0;
  };
  tick();
  page.tick(1_000, tick);
}

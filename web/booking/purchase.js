// From seats on hold to an order, on any page.

import { get, postOnce, serverNow, session } from "./api.js";
import { alertUser, go } from "./shell.js";
import { t } from "./words.js";

/** Makes the order of a hold, as `POST /api/events/{id}/holds` answers it, and goes to pay for it. */
export async function buy(hold) {
  const order = await postOnce("/api/orders", { hold_id: hold.hold_id });
  await go(`/checkout/${order.order_id}`);
  if (!hold.together && hold.seats.length > 1) alertUser(t("hall.apart", { n: hold.seats.length }));
}

/** Goes on with an order that was begun before, if there is one; whether it did. */
export async function resume() {
  if (!session()) return false;
  const { items } = await get("/api/orders?limit=1").catch(() => ({ items: [] }));
  const order = items.find((order) => order.status === "PENDING" && order.expires_at > serverNow());
  if (order) await go(`/checkout/${order.order_id}`, { replace: true });
  return Boolean(order);
}

// How long a hold still lasts, a warning before its end, and more time.

import { get, post, serverNow } from "./api.js";
import { el } from "./element.js";
import { button, clock } from "./parts.js";
import { alertUser } from "./shell.js";
import { t } from "./words.js";

const WARN_MS = 20_000;
/** Less than this is not worth asking for. */
const GAIN_MS = 1_000;

/**
 * The clock of an order. `running()` says whether it counts at all, `over()` is
 * called once at its end. `order.expires_at` moves with every extension.
 */
export function countdown(page, order, { running, over }) {
  const face = el("strong", { class: "clock", role: "timer" });
  const bar = el("progress", { max: 1, "aria-hidden": "true" });
  const words = el("span", { class: "warning", role: "alert" });
  const more = button(t("checkout.more"), () => extend(page, order), { kind: "second" });
  const box = el("section", { class: "card countdown" },
    el("div", {}, el("span", { class: "quiet" }, t("checkout.timeLeft")), " ", face, words), more, bar);
  const whole = Math.max(order.expires_at - order.created_at, 1);
  let done = false;
  const tick = () => {
    if (done || !running()) return;
    const left = order.expires_at - serverNow();
    const late = left < WARN_MS;
    const canGrow = (order.extendable_until_at ?? 0) > order.expires_at + GAIN_MS;
    face.textContent = clock(left);
    bar.value = Math.min(1, Math.max(0, left / whole));
    page.title(`${clock(left)} · ${order.title}`);
    box.classList.toggle("late", late);
    more.hidden = !canGrow;
    const warning = late ? t(canGrow ? "checkout.warnMore" : "checkout.warn") : "";
    // Only what is new is said aloud.
    if (words.textContent !== warning) words.textContent = warning;
    if (left > 0) return;
    done = true;
    over();
  };
  tick();
  page.tick(250, tick);
  return box;
}

async function extend(page, order) {
  try {
    const before = order.expires_at;
    const { expires_at, last } = await post(`/api/holds/${order.hold_id}/extend`);
    order.expires_at = expires_at;
    if (last) order.extendable_until_at = expires_at;
    const words = t(expires_at > before ? "checkout.moreDone" : "checkout.moreNot");
    alertUser(words);
  } catch (error) {
    if (error.code !== "not_found") return page.explain(error);
    // It ended in this moment, or was paid for elsewhere.
    Object.assign(order, await get(`/api/orders/${order.order_id}`));
  }
}

// Paying for an order: with points, or by card in the provider's window; and
// looking at a payment until it is done.

import { Lost, get, postOnce, topUp } from "./api.js";
import { el } from "./element.js";
import { button, notice } from "./parts.js";
import { again, alertUser, go, say } from "./shell.js";
import { money, t } from "./words.js";

const CHOSEN = "usher-booking-method";
const LOOK_MS = { first: 150, most: 3_000 };
/** After this long people are told that it takes longer. */
const LONG_MS = 8_000;

/** The form; `busy()` while a payment begins, when no clock counts. */
export async function payForm(page, order) {
  const [{ items: methods }, wallet] = await Promise.all([get("/api/payments/methods"), get("/api/wallet")]);
  const usable = methods.filter((method) => method.currency === order.currency);
  let { balance } = wallet;
  let method = (usable.find((one) => one.method === sessionStorage.getItem(CHOSEN)) ?? usable[0])?.method;
  let busy = false;
  const amount = money(order.amount, order.currency);
  const payButton = el("button", { class: "button wide" }, t("checkout.pay", { amount }));
  const purse = el("span", { class: "quiet" });
  const missing = el("p", { class: "missing" });
  const drawPurse = () => {
    const short = order.amount - balance;
    purse.textContent = t("checkout.balance", { amount: money(balance, wallet.currency) });
    missing.hidden = short <= 0 || method !== "points";
    const words = money(Math.max(short, 0), wallet.currency);
    missing.replaceChildren(t("checkout.short", { amount: words }), " ", button(t("checkout.charge", { amount: words }), charge, { kind: "second" }));
    payButton.disabled = busy || !method || !missing.hidden;
    payButton.textContent = busy ? t("checkout.paying") : t("checkout.pay", { amount });
  };
  const charge = async () => {
    try {
      ({ balance } = await topUp(order.amount - balance));
      drawPurse();
      payButton.focus();
    } catch (error) {
      page.explain(error);
    }
  };
  const choose = (name) => {
    sessionStorage.setItem(CHOSEN, method = name);
    drawPurse();
  };
  const choices = usable.map(({ method: name }) => el("label", { class: "choice" },
    el("input", { type: "radio", name: "method", value: name, checked: name === method, onchange: () => choose(name) }),
    el("span", {}, t(`checkout.${name}`), el("br"), name === "points" ? purse : el("span", { class: "quiet" }, t("checkout.cardNote")))));
  const pay = async (event) => {
    event.preventDefault();
    busy = true;
    drawPurse();
    try {
      if (method === "card") return openWindow(order, usable.find((one) => one.method === "card").window);
      const { request_id } = await postOnce("/api/payments", { order_id: order.order_id, method: "points" });
      await follow(page, order, request_id);
    } catch (error) {
      busy = false;
      drawPurse();
      if (MOVED.includes(error.code)) return again();
      payButton.focus();
      page.explain(error);
    }
  };
  drawPurse();
  const node = el("form", { class: "card", onsubmit: pay },
    el("fieldset", { class: "choices" }, el("legend", {}, t("checkout.how")), ...choices), missing, payButton);
  return { node, busy: () => busy };
}

/** The order is no longer what this page shows. */
const MOVED = ["already_paid", "hold_expired", "order_cancelled"];

/** Leaves for the card provider's window, which sends the buyer back here. */
function openWindow(order, address) {
  const here = `${location.origin}/checkout/${order.order_id}`;
  const url = new URL(address);
  const values = { orderId: order.order_id, amount: order.amount, orderName: order.title, successUrl: here, failUrl: here };
  for (const [name, value] of Object.entries(values)) url.searchParams.set(name, value);
  location.assign(url);
}

/** Begins the payment that the buyer agreed to at the provider; its id, or null when there is none. */
export async function comeBack(page, order, back) {
  drawPaying(page, t("checkout.paying"), t("checkout.payingText"));
  const paymentKey = back.get("paymentKey");
  try {
    const wish = { paymentKey, orderId: order.order_id, amount: Number(back.get("amount")) };
    return (await postOnce("/api/payments/confirm", wish, `confirm-${paymentKey}`)).request_id;
  } catch (error) {
    if (error instanceof Lost) throw error;
    if (!MOVED.includes(error.code)) page.explain(error);
    return null;
  }
}

const drawPaying = (page, title, text) => page.show(title, notice(title, text,
  el("span", { class: "spinner", "aria-hidden": "true" }),
  el("a", { class: "button second", href: "/orders" }, t("app.orders"))));

/** Looks at a payment until it is done, however long that takes. */
export async function follow(page, order, request) {
  const began = Date.now();
  drawPaying(page, t("checkout.paying"), t("checkout.payingText"));
  let told = false;
  for (let wait = LOOK_MS.first; !page.signal.aborted; wait = Math.min(wait * 1.5, LOOK_MS.most)) {
    await new Promise((done) => setTimeout(done, wait));
    if (page.signal.aborted) return;
    const payment = await get(`/api/payments/${request}/status`).catch((error) => {
      if (error instanceof Lost || error.status >= 500 || error.status === 429) return { status: "PENDING" };
      throw error;
    });
    if (payment.status === "COMPLETED") {
      await go(`/orders/${order.order_id}`, { replace: true });
      say(t("order.thanks"));
      return alertUser(t("order.thanks"));
    }
    if (payment.status === "FAILED") return again();
    if (!told && Date.now() - began > LONG_MS) {
      told = true;
      drawPaying(page, t("checkout.doubt"), t("checkout.doubtText"));
    }
  }
}

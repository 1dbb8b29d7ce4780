// An order that waits to be paid: how long its seats are kept, and paying.

import { call, get, post, postOnce, serverNow, topUp } from "../api.js";
import { el } from "../element.js";
import { alertUser, go, say } from "../shell.js";
import { money, t } from "../words.js";

const WARN_MS = 20_000;
const LOOK_MS = { first: 150, most: 2_000 };

export async function draw(page, id) {
  const order = await get(`/api/orders/${id}`);
  if (order.status === "PAYING") return follow(page, order, order.payment.request_id);
  if (order.status !== "PENDING") return go("/tickets", { replace: true });
  const hall = `/events/${order.event_id}`;
  let ends = order.expires_at;
  let warned = false;
  let busy = false;
  let { balance } = await get("/api/wallet");
  const clock = el("strong", { class: "clock", role: "timer" });
  const purse = el("p", { class: "quiet" });
  const payButton = el("button", { class: "button wide", type: "button" });
  const topUpButton = el("button", { class: "button second", type: "button" }, t("checkout.topUp"));
  const drawPurse = () => {
    const enough = balance >= order.amount;
    purse.textContent = t("checkout.balance", { amount: money(balance, order.currency) });
    payButton.textContent = t("checkout.pay", { amount: money(order.amount, order.currency) });
    payButton.disabled = !enough || busy;
    topUpButton.hidden = enough;
  };
  const tick = async () => {
    const left = ends - serverNow();
    const seconds = Math.max(0, Math.ceil(left / 1_000));
    clock.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    clock.classList.toggle("late", left < WARN_MS);
    if (left < WARN_MS && !warned) {
      warned = true;
      say(t("checkout.warn"));
      alertUser(t("checkout.warn"));
    }
    if (left > 0 || busy) return;
    busy = true;
    await go(hall);
    alertUser(t("checkout.over"));
  };
  topUpButton.addEventListener("click", async () => {
    try {
      ({ balance } = await topUp());
      drawPurse();
    } catch (error) {
      page.explain(error);
    }
  });
  payButton.addEventListener("click", async () => {
    busy = true;
    payButton.textContent = t("checkout.paying");
    payButton.disabled = true;
    try {
      const { request_id } = await postOnce("/api/payments", { order_id: order.order_id, method: "points" });
      await follow(page, order, request_id);
    } catch (error) {
      busy = false;
      drawPurse();
      page.explain(error);
    }
  });
  const more = async () => {
    try {
      const before = ends;
      ({ expires_at: ends } = await post(`/api/holds/${order.hold_id}/extend`));
      warned = false;
      alertUser(ends > before ? t("checkout.moreDone") : t("checkout.moreNot"));
    } catch (error) {
      page.explain(error);
    }
  };
  const back = async () => {
    await call("DELETE", `/api/holds/${order.hold_id}`).catch(() => {});
    await go(hall);
  };
  drawPurse();
  page.show(t("checkout.title"), el("section", { class: "card" },
    el("h1", {}, t("checkout.title")),
    el("p", {}, `${t("checkout.timeLeft")}: `, clock, " ",
      el("button", { class: "link", type: "button", onclick: more }, t("checkout.more"))),
    el("ul", { class: "items" }, ...order.items.map((item) =>
      el("li", {}, el("bdi", {}, item.seat), el("span", {}, money(item.price, order.currency))))),
    el("p", { class: "items total" }, el("span", {}, t("checkout.total")), el("strong", {}, money(order.amount, order.currency))),
    purse, topUpButton, payButton,
    el("button", { class: "link", type: "button", onclick: back }, t("checkout.giveBack"))));
  tick();
  const timer = setInterval(tick, 250);
  page.signal.addEventListener("abort", () => clearInterval(timer));
}

/** Looks at a payment until it is done. */
async function follow(page, order, request) {
  for (let wait = LOOK_MS.first; !page.signal.aborted; wait = Math.min(wait * 1.5, LOOK_MS.most)) {
    await new Promise((done) => setTimeout(done, wait));
    const payment = await get(`/api/payments/${request}/status`).catch((error) => {
      if (error instanceof TypeError || error.status >= 500) return { status: "PENDING" };
      throw error;
    });
    if (payment.status === "PENDING") continue;
    const done = payment.status === "COMPLETED";
    await go(done ? "/tickets" : `/events/${order.event_id}`, { replace: true });
    if (done) return alertUser(t("tickets.paid"));
    const why = payment.reason === "insufficient_funds" ? t("checkout.insufficient_funds") : "";
    return alertUser(`${t("checkout.failed")} ${why}`);
  }
}

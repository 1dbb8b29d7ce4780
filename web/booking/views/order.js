// One order: how it stands, its tickets, and giving them back.

import { get, post, serverNow, session } from "../api.js";
import { askAt } from "../door.js";
import { el } from "../element.js";
import { badge, bill, button, head, seatName } from "../parts.js";
import { again, alertUser, ask } from "../shell.js";
import { money, percent, t, when } from "../words.js";
import { ticketCard } from "./tickets.js";

export async function draw(page, id) {
  if (!session()) return askAt(page, again);
  const order = await get(`/api/orders/${id}`);
  const isSold = order.status === "PAID" || order.status === "PARTIALLY_REFUNDED";
  const tickets = isSold ? await ticketsOf(order) : [];
  page.show(`${order.title} · ${t(`order.${order.status}`)}`,
    head(order),
    el("p", { class: "apart" }, badge(order), el("span", { class: "quiet" }, t("order.number", { id: order.order_id.slice(0, 8) }))),
    next(order),
    ...order.items.map((item) => ticketOf(item, order, tickets)),
    el("section", { class: "card" }, bill(order), paid(order), el("p", { class: "quiet" }, t("order.made", { when: when(order.created_at) }))),
    isSold ? giveBack(page, order, tickets) : null);
}

async function ticketsOf(order) {
  const found = [];
  for (let cursor = "", pages = 0; cursor !== null && found.length < order.items.length && pages < 10; pages++) {
    const { items, next } = await get(`/api/me/tickets?limit=100${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    found.push(...items.filter((ticket) => ticket.order_id === order.order_id));
    cursor = next;
  }
  return found;
}

function ticketOf(item, order, tickets) {
  const ticket = tickets.find(({ seat, status }) => seat === item.seat && status !== "VOID");
  return ticket ? ticketCard(ticket, seatName(item, order.kind)) : null;
}

/** What to do about an order that is not paid. */
function next(order) {
  const words = { PENDING: "order.pay", PAYING: "order.follow", EXPIRED: "checkout.same", CANCELLED: "checkout.same" }[order.status];
  return words ? el("p", {}, el("a", { class: "button", href: `/checkout/${order.order_id}` }, t(words))) : null;
}

function paid(order) {
  if (order.payment?.status !== "COMPLETED") return null;
  return el("div", {},
    order.refunded ? el("p", { class: "items total" }, el("span", {}, t("order.refunded")), el("strong", {}, money(order.refunded, order.currency))) : null,
    order.amount ? el("p", { class: "quiet" }, t(order.payment.method === "card" ? "order.byCard" : "order.byPoints")) : null);
}

/** The office's rule, and a choice of what is still good. */
function giveBack(page, order, tickets) {
  const used = new Set(tickets.filter((ticket) => ticket.status === "USED").map((ticket) => ticket.seat));
  const kept = order.items.filter((item) => !item.refunded && !used.has(item.seat));
  const until = { when: when(order.refund_until_at) };
  const rate = order.refund_fee_percent;
  const title = el("h2", {}, t("order.cancel"));
  if (order.refund_until_at <= serverNow()) return el("section", { class: "card" }, title, el("p", {}, t("order.ruleOver", until)));
  if (!kept.length) return null;
  const boxes = new Map(kept.map((item) => [item, el("input", { type: "checkbox", checked: true, onchange: () => redraw() })]));
  const chosen = () => kept.filter((item) => boxes.get(item).checked);
  // As the office counts: a fee of each price, rounded down.
  const fee = () => chosen().reduce((sum, item) => sum + Math.floor(item.price * rate / 100), 0);
  const price = () => chosen().reduce((sum, item) => sum + item.price, 0);
  const cash = (amount) => money(amount, order.currency);
  const sum = el("p", { role: "status" });
  const act = button("", async () => {
    const items = chosen().map((item) => item.seat);
    const amount = cash(price() - fee());
    if (!await ask(act.textContent, t("order.sure"), act.textContent, t("order.keep"))) return;
    try {
      await post(`/api/orders/${order.order_id}/cancel`, { items });
    } catch (error) {
      return page.explain(error);
    }
    await again();
    alertUser(t("order.done", { amount }));
  }, { kind: "second" });
  const redraw = () => {
    const n = chosen().length;
    sum.textContent = !n ? t("order.choose") : t(fee() ? "order.backFee" : "order.back", { amount: cash(price() - fee()), fee: cash(fee()) });
    act.textContent = t("order.do", { n });
    act.hidden = !n;
  };
  redraw();
  return el("details", { class: "card" }, el("summary", {}, t("order.cancel")),
    el("p", {}, rate ? t("order.ruleFee", { ...until, percent: percent(rate) }) : t("order.ruleWhole", until), " ",
      t(order.payment?.method === "card" ? "order.toCard" : "order.toPoints")),
    el("fieldset", { class: "choices" }, el("legend", {}, t("order.which")),
      ...kept.map((item) => el("label", { class: "choice" }, boxes.get(item), seatName(item, order.kind)))),
    sum, act);
}

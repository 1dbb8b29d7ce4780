// An order on its way: its seats kept and the clock running, being paid, or over.

import { call, get, session } from "../api.js";
import { countdown } from "../countdown.js";
import { askAt } from "../door.js";
import { el } from "../element.js";
import { bill, button, head, notice, seatName, seatWords } from "../parts.js";
import { comeBack, follow, payForm } from "../pay.js";
import { sameAgain, shelf } from "../purchase.js";
import { again, alertUser, go } from "../shell.js";
import { t } from "../words.js";

const LOOK_AGAIN_MS = 5_000;

export async function draw(page, id) {
  if (!session()) return askAt(page, again);
  const order = await get(`/api/orders/${id}`);
  // Back from the card company's window, which adds to the address.
  const back = new URLSearchParams(location.search);
  const forget = () => history.replaceState(null, "", location.pathname);
  if (back.has("paymentKey") && order.status === "PENDING") {
    const request = await comeBack(page, order, back);
    forget();
    return request ? follow(page, order, request) : drawOrder(page, await get(`/api/orders/${id}`));
  }
  if (back.size) forget();
  await drawOrder(page, order);
  if (back.has("code") && order.status === "PENDING") alertUser(t("checkout.away"));
}

async function drawOrder(page, order) {
  switch (order.status) {
    case "PENDING": return drawPending(page, order);
    case "PAYING": return follow(page, order, order.payment.request_id);
    case "EXPIRED": return drawOver(page, order, "over");
    case "CANCELLED": return drawOver(page, order, order.payment ? "failed" : "givenUp");
    default: return go(`/orders/${order.order_id}`, { replace: true });
  }
}

async function drawPending(page, order) {
  const form = await payForm(page, order);
  const giveBack = async () => {
    try {
      await call("POST", `/api/orders/${order.order_id}/cancel`, {});
      await go(shelf(order));
    } catch (error) {
      page.explain(error);
    }
  };
  let over = false;
  const end = () => {
    over = true;
    drawOver(page, { ...order, status: "EXPIRED" }, "over");
  };
  const title = t(order.kind === "admission" ? "checkout.ticketsTitle" : "checkout.title");
  page.show(title,
    el("h1", {}, title),
    countdown(page, order, { running: () => !form.busy(), over: end }),
    el("section", { class: "card" }, head(order, "h2"), bill(order)),
    form.node,
    button(t("checkout.giveBack"), giveBack, { kind: "link" }));
  // Another tab, or the server's own clock, may have moved it on.
  page.every(LOOK_AGAIN_MS, async () => {
    const isSettled = () => over || form.busy() || page.signal.aborted;
    if (isSettled()) return;
    const now = await get(`/api/orders/${order.order_id}`);
    const moved = now.status !== "PENDING" || now.expires_at !== order.expires_at;
    if (moved && !isSettled()) await again();
  });
}

const OVER = {
  over: ["checkout.overTitle", "checkout.overText"],
  failed: ["checkout.failedTitle", "checkout.failedText"],
  givenUp: ["checkout.givenUpTitle", "checkout.givenUpText"],
};

/** Nothing is kept any more: says so, and offers the same once more. */
function drawOver(page, order, how) {
  const [title, text] = OVER[how].map((key) => t(key));
  const retry = async () => {
    try {
      await sameAgain(order);
    } catch (error) {
      if (error.code !== "seats_taken") return page.explain(error);
      const gone = order.items.filter((item) => error.body.seats?.includes(item.seat));
      alertUser(t("checkout.gone", { seats: gone.map((item) => seatWords(item, order.kind)).join("; ") }));
    }
  };
  page.show(title,
    notice(title, [why(order, how), text].filter(Boolean).join(" "),
      button(t("checkout.same"), retry),
      el("a", { class: "button second", href: shelf(order) }, t("checkout.others"))),
    el("section", { class: "card" }, head(order, "h2"),
      el("ul", { class: "items" }, ...order.items.map((item) => el("li", {}, seatName(item, order.kind))))));
}

function why(order, how) {
  if (how !== "failed") return "";
  if (order.payment.reason === "insufficient_funds") return t("checkout.insufficient_funds");
  return order.payment.method === "card" ? t("checkout.refused") : "";
}

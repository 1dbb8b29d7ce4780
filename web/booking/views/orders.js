// Every order of this fan, newest first.

import { get, session } from "../api.js";
import { askAt } from "../door.js";
import { el } from "../element.js";
import { badge, button, head } from "../parts.js";
import { again } from "../shell.js";
import { money, t } from "../words.js";

export async function draw(page) {
  if (!session()) return askAt(page, again);
  const list = el("div", {});
  const more = button(t("app.more"), () => add().catch((error) => page.explain(error)), { kind: "second" });
  let cursor = "";
  const add = async () => {
    const { items, next } = await get(`/api/orders?limit=20${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    list.append(...items.map(orderCard));
    cursor = next;
    more.hidden = !next;
  };
  await add();
  page.show(t("app.orders"), el("h1", {}, t("app.orders")),
    list.firstChild ? list : el("p", {}, t("order.none")), more,
    el("p", {}, el("a", { href: "/support" }, t("support.title"))));
}

const orderCard = (order) => el("article", { class: "card" },
  el("p", { class: "apart" }, badge(order), el("strong", {}, money(order.amount, order.currency))),
  head(order, "h2"),
  el("p", {}, el("a", { href: `/orders/${order.order_id}` },
    t("parts.count", { n: order.items.length }), el("span", { class: "unseen" }, ` · ${order.title}`))));

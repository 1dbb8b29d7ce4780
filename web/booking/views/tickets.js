// What was bought, each with the code that is shown at the door.

import { get, picture, session } from "../api.js";
import { askAt } from "../door.js";
import { el } from "../element.js";
import { head } from "../parts.js";
import { again } from "../shell.js";
import { t } from "../words.js";

export async function draw(page) {
  if (!session()) return askAt(page, again);
  const { items } = await get("/api/me/tickets?limit=100");
  // Orders stay newest first, the seats of each in their order.
  const at = new Map(items.map(({ order_id }, i) => [order_id, i]).reverse());
  const byNumber = new Intl.Collator(undefined, { numeric: true });
  items.sort((a, b) => at.get(a.order_id) - at.get(b.order_id) || byNumber.compare(a.seat, b.seat));
  const [good, old] = [true, false].map((isGood) => items.filter((ticket) => (ticket.status === "VALID") === isGood));
  page.show(t("tickets.title"),
    el("h1", {}, t("tickets.title")),
    ...(good.length ? good.map((ticket) => ticketCard(ticket)) : [el("p", {}, t("tickets.none"))]),
    old.length ? el("details", {}, el("summary", {}, t("tickets.old")), ...old.map((ticket) => ticketCard(ticket))) : null);
}

/** A ticket as it is shown at the door; below its order with the seat's `name` and nothing that is said there. */
export function ticketCard(ticket, name = null) {
  const isGood = ticket.status === "VALID";
  const card = el("article", { class: "card ticket", "data-status": ticket.status },
    el("div", {},
      el("p", { class: "seat-id" }, name ?? el("bdi", {}, ticket.seat)),
      name ? null : head(ticket, "h2"),
      el("p", { class: "quiet" }, isGood ? t("tickets.door") : t(`tickets.${ticket.status}`)),
      el("p", { class: "quiet" }, ...(name ? [] : [el("a", { href: `/orders/${ticket.order_id}` }, t("tickets.order")), " · "]),
        `${t("tickets.code")} `, el("code", {}, ticket.code))));
  // The written code stays good when the picture does not come.
  if (isGood) picture(ticket.qr).then((src) => card.prepend(el("img", { class: "qr", src, alt: t("tickets.qr") })), () => {});
  return card;
}

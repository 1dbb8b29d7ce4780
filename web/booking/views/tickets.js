// What was bought, each with the code that is shown at the door.

import { get, picture, session } from "../api.js";
import { el } from "../element.js";
import { t, when } from "../words.js";

export async function draw(page) {
  const { items } = session() ? await get("/api/me/tickets?limit=100") : { items: [] };
  page.show(t("tickets.title"),
    el("h1", {}, t("tickets.title")),
    ...(items.length ? items.map(ticketCard) : [el("p", {}, t("tickets.none"))]),
    el("a", { class: "button second", href: "/" }, t("events.title")));
}

/** A ticket as it is shown at the door. */
export function ticketCard(ticket) {
  const card = el("article", { class: "card ticket", "data-status": ticket.status },
    el("h2", { dir: "auto" }, ticket.seat),
    el("p", {}, el("bdi", {}, ticket.title), el("br"),
      el("span", { class: "quiet" }, when(ticket.starts_at), el("br"), el("bdi", {}, ticket.venue))),
    el("p", { class: "quiet" }, `${t(`tickets.${ticket.status}`)} · ${t("tickets.code")} `, el("code", {}, ticket.code)));
  if (ticket.status === "VALID") {
    // The written code stays good when the picture does not come.
    picture(ticket.qr).then((src) => card.append(el("img", { class: "qr", src, alt: t("tickets.code") })), () => {});
  }
  return card;
}

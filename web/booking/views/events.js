// What is on sale: halls with seats, and offers without.

import { get, serverNow } from "../api.js";
import { el } from "../element.js";
import { head } from "../parts.js";
import { money, t, when } from "../words.js";

export async function draw(page) {
  const [{ items: halls }, { items: offers }] = await Promise.all([get("/api/events?limit=100"), get("/api/tickets?limit=100")]);
  page.show("",
    el("h1", {}, t("events.title")),
    halls.length || offers.length ? null : el("p", {}, t("events.none")),
    ...halls.map(hallCard),
    offers.length ? el("h2", {}, t("events.admission")) : null,
    ...offers.map(offerCard));
}

const card = (of, level, href, price, state, words) => el("article", { class: "card event" },
  head(of, level),
  el("p", {}, price, " ", el("span", { class: "quiet" }, ` · ${state}`)),
  el("a", { class: "button", href }, words, el("span", { class: "unseen" }, ` · ${of.title}`)));

function hallCard(event) {
  const left = event.sections.reduce((sum, section) => sum + section.available, 0);
  const prices = event.sections.map((section) => section.price);
  const [low, high] = [Math.min(...prices), Math.max(...prices)].map((price) => money(price, event.currency));
  const open = event.sale_opens_at <= serverNow();
  const state = open ? t(left ? "events.left" : "events.soldOut", { n: left }) : t("events.opens", { when: when(event.sale_opens_at) });
  return card(event, "h2", `/events/${event.id}`, low === high ? low : `${low} – ${high}`, state, t("events.choose"));
}

/** Tickets of an offer that nobody has or is buying. */
export const left = (offer) => offer.quantity - offer.issued - offer.reserved;

/** What one ticket costs, for people. */
export const price = (offer) => (offer.price ? money(offer.price, offer.currency) : t("events.free"));

function offerCard(offer) {
  const n = left(offer);
  const of = { title: offer.title, venue: offer.title, starts_at: offer.event_time };
  return card(of, "h3", `/admission/${offer.id}`, price(offer), n ? t("admission.left", { n }) : t("events.soldOut"), t("events.get"));
}

// Seats in words: for ears, signs and lists.
//
// Names come from others: one that is written from right to left is kept apart
// from the text around it.

import { STATUSES } from "./plan.js";
import { language, money, t } from "../words.js";

const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufefc]/;
const apart = (name) => (RIGHT_TO_LEFT.test(name) ? `\u2068${name}\u2069` : name);
const list = (words) => new Intl.ListFormat(language, { type: "conjunction" }).format(words);

const place = (section, row, n) => t(row ? "seats.place" : "seats.placeNoRow", { section: apart(section.name), row: apart(row), n });

/** How a seat stands, for this buyer. */
export const standing = (seat, isMine) => isMine ? t("seats.mine") : t(`standing.${STATUSES[seat.status]}`);

/** "Floor A, row 3, seat 7". */
export const seatName = (seat) => place(seat.section, seat.row, String(seat.number));

/** A seat with its price and how it stands. */
export const seatWords = (seat, currency, isMine) => [
  seatName(seat), money(seat.price, currency), ...(seat.accessible ? [t("seats.accessible")] : []), standing(seat, isMine),
].join(", ");

/** Many seats, those of one row together: "Floor A, row 3, seats 7 and 8". */
export function seatNames(seats) {
  const rows = new Map();
  for (const seat of seats) {
    const key = `${seat.section.at} ${seat.row}`;
    rows.set(key, [...(rows.get(key) ?? []), seat]);
  }
  return [...rows.values()].map((row) => (row.length === 1
    ? seatName(row[0])
    : t(row[0].row ? "seats.places" : "seats.placesNoRow", {
      section: apart(row[0].section.name), row: apart(row[0].row), n: list(row.map(({ number }) => String(number))),
    }))).join("; ");
}

/** What is left of a section. */
export function leftWords(section) {
  if (section.free > 0) return t("events.left", { n: section.free });
  return section.kind === "expandable" ? t("seats.more") : t("events.soldOut");
}

/** The lines of a section's sign on the map; of the stage's for null. */
export function signWords(section, currency) {
  if (!section) return [t("seats.stage")];
  const lines = [apart(section.name), money(section.price, currency)];
  if (section.byCount || section.free === 0) lines.push(leftWords(section));
  return lines;
}

// "Somebody was faster", and what is free right beside.

import { seatNames } from "./names.js";
import { el } from "../element.js";
import { money, t } from "../words.js";

/**
 * The box; `show({ lost, seats, kept, act, word })` fills it: which seats are gone,
 * which are offered, what takes them. It stays until it is answered.
 */
export function offerBox({ currency, closed }) {
  const node = el("section", { class: "offer", role: "alert", hidden: true });
  const close = () => {
    node.hidden = true;
    closed();
  };
  return {
    node,
    close,
    get open() {
      return !node.hidden;
    },
    show({ lost, seats, nothingHeld, word, act }) {
      const total = seats.reduce((sum, { price }) => sum + price, 0);
      node.hidden = false;
      node.replaceChildren(
        el("h2", {}, t("seats.faster")),
        el("p", {}, t("seats.gone", { seats: seatNames(lost) }), nothingHeld ? ` ${t("seats.nothingHeld")}` : ""),
        ...(seats.length === 0
          ? [el("p", {}, t("seats.noneNear"))]
          : [el("p", {}, `${t("seats.nearest")} `, el("strong", {}, seatNames(seats)), ` · ${money(total, currency)}`)]),
        el("div", { class: "acts" },
          seats.length === 0 ? null : el("button", { class: "button", type: "button", onclick: () => { close(); act(); } }, word),
          el("button", { class: "link", type: "button", onclick: close }, t("seats.lookMyself"))));
    },
  };
}

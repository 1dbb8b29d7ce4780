// What the visitor has chosen: the seats, their sum, and the way on.

import { seatName } from "./names.js";
import { el } from "../element.js";
import { money, t } from "../words.js";

/** The bar with the chosen seats; `draw(seats, opensAt)` shows them, `opensAt` while the sale is not open. */
export function choiceBar({ currency, remove, hold }) {
  const chips = el("ul", { class: "chips" });
  const total = el("strong", { class: "total" });
  const button = el("button", { class: "button", type: "button", onclick: hold });
  const node = el("section", { class: "chosen", "aria-label": t("seats.mineTitle"), hidden: true },
    chips, el("div", { class: "chosen-end" }, total, button));
  return {
    node,
    draw(seats, closed) {
      node.hidden = seats.length === 0;
      const sum = seats.reduce((all, { price }) => all + price, 0);
      total.textContent = `${t("seats.selected", { n: seats.length })} · ${money(sum, currency)}`;
      button.textContent = closed || t("seats.hold");
      button.disabled = Boolean(closed);
      const focused = [...chips.children].findIndex((chip) => chip.contains(document.activeElement));
      chips.replaceChildren(...seats.map((seat) => el("li", {},
        el("span", {}, seatName(seat)),
        el("button", { type: "button", "aria-label": t("seats.remove", { seat: seatName(seat) }), onclick: () => remove(seat.i) }, "×"))));
      // Who removed one by keyboard stays among them.
      if (focused < 0) return;
      const next = chips.children[Math.min(focused, seats.length - 1)]?.querySelector("button");
      (next ?? document.getElementById("main")).focus();
    },
  };
}

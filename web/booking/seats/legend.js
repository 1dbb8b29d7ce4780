// What colours and shapes on the map mean.

import { colours, drawMine, drawSeat, pricesOf } from "./look.js";
import { AVAILABLE, HELD, SOLD } from "./plan.js";
import { el } from "../element.js";
import { money, t } from "../words.js";

const SIDE = 18;

/** The legend of a plan's prices and of how seats stand; drawn anew when the page becomes dark. */
export function legend({ plan, currency, signal }) {
  const pictures = [];
  const entry = (words, paint) => {
    const canvas = el("canvas", { width: 2 * SIDE, height: 2 * SIDE, "aria-hidden": "true" });
    pictures.push(() => {
      const ctx = canvas.getContext("2d");
      ctx.setTransform(2, 0, 0, 2, 0, 0);
      ctx.clearRect(0, 0, SIDE, SIDE);
      paint(ctx, colours());
    });
    return el("li", {}, canvas, " ", words);
  };
  const middle = SIDE / 2;
  const seat = (price, status) => (ctx, colour) => drawSeat(ctx, colour, price, status, middle, middle, 7.5);
  const node = el("ul", { class: "legend" },
    ...pricesOf(plan).map((price, at) => entry(money(price, currency), seat(at, AVAILABLE))),
    entry(t("seats.mine"), (ctx, colour) => drawMine(ctx, colour, middle, middle, 6.5)),
    entry(t("seats.onHold"), seat(0, HELD)),
    entry(t("standing.SOLD"), seat(0, SOLD)));
  const draw = () => pictures.forEach((paint) => paint());
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw, { signal });
  return node;
}

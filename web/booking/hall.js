// The seat map of one section: rows of buttons, usable by touch, keyboard and ear.

import { el } from "./element.js";
import { t } from "./words.js";

/** Rows of one section's seats, in the order of the list. */
function rowsOf(seats) {
  const rows = new Map();
  for (const seat of seats) rows.set(seat.row, [...(rows.get(seat.row) ?? []), seat]);
  return [...rows.values()];
}

/**
 * Draws a section. `chosen` is a Set of seat ids, `toggle(seat)` is called for
 * free and chosen seats. Returns the node and `update(seats)`, which changes
 * only what changed, so that focus and scrolling stay where they are.
 */
export function drawSection(seats, chosen, toggle) {
  const buttons = new Map();
  const grid = rowsOf(seats).map((row) => row.map((seat) => {
    const button = el("button", {
      type: "button", class: "seat", tabindex: -1,
      onclick: () => button.getAttribute("aria-disabled") !== "true" && toggle(seat.id),
    }, String(seat.number));
    buttons.set(seat.id, { button, seat });
    return button;
  }));
  const node = el("div", { class: "rows", role: "group", "aria-label": t("hall.keys") }, ...grid.map((row, i) =>
    el("div", { class: "row", role: "group", "aria-label": t("hall.row", { row: rowsOf(seats)[i][0].row }) },
      el("span", { class: "row-name", "aria-hidden": "true" }, rowsOf(seats)[i][0].row), ...row)));
  roam(node, grid);

  const show = ({ button, seat }) => {
    const mine = chosen.has(seat.id);
    const status = mine ? t("hall.yours") : t(`hall.${seat.status}`);
    const free = mine || seat.status === "AVAILABLE";
    button.dataset.status = mine ? "MINE" : seat.status;
    button.setAttribute("aria-pressed", mine);
    button.setAttribute("aria-disabled", !free);
    button.setAttribute("aria-label", t("hall.seatLabel", { row: seat.row, n: seat.number, status }));
  };
  buttons.forEach(show);
  return {
    node,
    update(now) {
      for (const seat of now) {
        const kept = buttons.get(seat.id);
        if (!kept) continue;
        kept.seat = seat;
        show(kept);
      }
    },
  };
}

/** One stop for Tab; arrow keys go on from there. */
function roam(node, grid) {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  grid[0]?.[0]?.setAttribute("tabindex", 0);
  node.addEventListener("keydown", (event) => {
    const move = step[event.key];
    const at = grid.findIndex((row) => row.includes(event.target));
    if (!move || at < 0) return;
    event.preventDefault();
    const row = grid[Math.min(Math.max(at + move[0], 0), grid.length - 1)];
    const column = grid[at].indexOf(event.target) + move[1];
    row[Math.min(Math.max(column, 0), row.length - 1)].focus();
  });
  node.addEventListener("focusin", (event) => {
    node.querySelector("[tabindex='0']")?.setAttribute("tabindex", -1);
    event.target.setAttribute("tabindex", 0);
  });
}

// The same seats without a map: sections, in them rows, in them buttons.
//
// What is not open is not built, so that the largest house is a short list.

import { leftWords, standing } from "./names.js";
import { AVAILABLE } from "./plan.js";
import { el } from "../element.js";
import { money, t } from "../words.js";

/** Makes the list; `pick(seat)` and `count(section)` are called as by the map. */
export function seatList({ plan, mine, pick, count, currency }) {
  const parts = plan.sections.map((section) => (section.byCount ? byCount(section) : partOf(section)));
  const buttons = new Map();
  const rows = new Map();

  function byCount(section) {
    const left = el("span", { class: "quiet" });
    const button = el("button", { class: "button second", type: "button", onclick: () => count(section) }, t("seats.choose"));
    const draw = () => {
      left.textContent = leftWords(section);
      button.disabled = section.free === 0 && section.kind !== "expandable";
    };
    draw();
    return { section, draw, node: el("div", { class: "part count" }, el("span", {}, el("bdi", {}, section.name)),
      el("span", {}, money(section.price, currency)), left, button) };
  }

  function partOf(section) {
    const left = el("span", { class: "quiet" });
    const draw = () => (left.textContent = leftWords(section));
    draw();
    const node = el("details", { class: "part" }, el("summary", {}, el("bdi", {}, section.name), " ",
      el("span", {}, money(section.price, currency)), " ", left));
    const build = () => {
      if (node.children.length > 1) return;
      const single = section.rows.length === 1;
      node.append(...section.rows.map((row) => rowOf(row, single)));
    };
    node.addEventListener("toggle", build);
    return { section, draw, node, build };
  }

  const openable = () => parts.filter(({ node }) => node.open !== undefined)
    .flatMap(({ section, node }) => [[section.id, node], ...rowsIn(section, node)]);
  const rowsIn = (section, node) => [...node.querySelectorAll(".line")].map((line, at) => [`${section.id}-${section.rows[at].code}`, line]);

  function rowOf(row, open) {
    const left = el("span", { class: "quiet" });
    const name = row.label ? t("seats.row", { row: row.label }) : "";
    const node = el("details", { class: "line", open }, el("summary", {}, el("bdi", {}, name), " ", left));
    const draw = () => {
      let free = 0;
      for (let i = row.first; i < row.first + row.len; i++) free += plan.statuses[i] === AVAILABLE;
      left.textContent = free ? t("events.left", { n: free }) : t("events.soldOut");
    };
    draw();
    rows.set(row, draw);
    const build = () => {
      if (node.children.length > 1) return;
      const all = Array.from({ length: row.len }, (_, at) => seatButton(row.first + at));
      all[0].tabIndex = 0;
      node.append(el("div", { class: "seats", role: "group", "aria-label": `${row.section.name} ${name}`, onkeydown: roam }, ...all));
    };
    node.addEventListener("toggle", build);
    if (open) build();
    return node;
  }

  function seatButton(i) {
    const button = el("button", { type: "button", class: "seat", tabindex: -1, onclick: () => pick(i) });
    buttons.set(i, button);
    drawSeat(i);
    return button;
  }

  function drawSeat(i) {
    const button = buttons.get(i);
    if (!button) return;
    const seat = plan.seat(i);
    const isMine = mine.has(i);
    button.textContent = seat.number;
    button.dataset.status = isMine ? "MINE" : ["AVAILABLE", "HELD", "SOLD"][seat.status];
    button.setAttribute("aria-pressed", isMine);
    button.setAttribute("aria-disabled", !isMine && seat.status !== AVAILABLE);
    const words = [standing(seat, isMine), ...(seat.accessible ? [t("seats.accessible")] : [])].join(", ");
    button.setAttribute("aria-label", t("seats.seat", { n: String(seat.number), status: words }));
  }

  return {
    node: el("div", { class: "list" }, ...parts.map(({ node }) => node)),
    /** Which sections and rows are open, for `open` of the next list. */
    opened: () => openable().filter(([, node]) => node.open).map(([key]) => key),
    open(keys) {
      parts.filter(({ section }) => keys.includes(section.id)).forEach(({ build }) => build());
      openable().filter(([key]) => keys.includes(key)).forEach(([, node]) => (node.open = true));
    },
    /** These seats stand otherwise now. */
    changed(seats) {
      seats.forEach(drawSeat);
      for (const row of new Set(seats.map((i) => plan.row(i)))) rows.get(row)?.();
      parts.forEach(({ draw }) => draw());
    },
    /** Draws anew which seats are one's own. */
    redraw: () => buttons.forEach((_, i) => drawSeat(i)),
  };
}

/** One stop for Tab in each row; arrow keys go on from there. */
function roam(event) {
  const all = [...event.currentTarget.children];
  const here = all.indexOf(event.target);
  const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: all.length - 1 }[event.key];
  if (to === undefined || here < 0) return;
  event.preventDefault();
  const next = all[Math.min(Math.max(to, 0), all.length - 1)];
  event.target.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

// The map of the house: what is drawn, what is picked with finger, mouse and keys.

import { Camera } from "./camera.js";
import { listen } from "./gestures.js";
import { Painter } from "./paint.js";
import { neighbour, whatIsAt } from "./place.js";
import { AVAILABLE } from "./plan.js";
import { el } from "../element.js";
import { t } from "../words.js";

/** CSS pixels from seat to seat at which one is picked: by mouse, by finger. */
const PICK = { fine: 9, coarse: 20 };
/** What it grows to when a tap asks for it, or the keys choose a seat. */
const CLOSE = 30;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Makes the map. `pick(seat)` and `count(section)` are called for what was
 * chosen; `tell(seat)` gives words for a seat, `sign(section)` the lines of its
 * sign (of the stage for null), `say(text)` speaks. `mine` is the set of chosen seats.
 */
export function seatMap({ plan, places, mine, pick, count, tell, sign, say, signal }) {
  const canvas = el("canvas", { "aria-hidden": "true" });
  const tip = el("div", { class: "map-tip", "aria-hidden": "true", hidden: true });
  const stage = el("div", {
    class: "map-stage", tabindex: 0, role: "application", "aria-label": t("seats.map"), "aria-describedby": "map-keys",
  }, canvas, tip);
  const tool = (label, sign, work) => el("button", { type: "button", "aria-label": label, title: label, onclick: work }, sign);
  const node = el("div", { class: "map" }, stage,
    el("p", { class: "unseen", id: "map-keys" }, t("seats.keys")),
    el("div", { class: "map-tools" },
      tool(t("seats.zoomIn"), "+", () => camera.go(camera.x, camera.y, camera.scale * 1.8)),
      tool(t("seats.zoomOut"), "−", () => camera.go(camera.x, camera.y, camera.scale / 1.8)),
      tool(t("seats.zoomAll"), "⤢", () => camera.go(camera.middle.x, camera.middle.y, camera.whole))));

  const shown = { mine, offered: new Set(), cursor: -1 };
  let cursor = -1;
  let asked = 0;
  const redraw = () => {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      // Beside the list it has no size.
      if (painter.ratio) painter.draw();
    });
  };
  const camera = new Camera(places.box, redraw);
  const painter = new Painter(canvas, plan, places, camera, shown, sign);

  const size = new ResizeObserver(([{ contentRect: { width, height } }]) => {
    if (width === 0 || height === 0) return;
    painter.resize(width, height);
    camera.resize(width, height);
    painter.draw();
  });
  size.observe(stage);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => { painter.recolour(); redraw(); }, { signal });
  signal.addEventListener("abort", () => { size.disconnect(); camera.stop(); cancelAnimationFrame(asked); });

  const at = (px, py) => whatIsAt(places, ...camera.toWorld(px, py));
  const closer = (px, py) => {
    const [x, y] = camera.toWorld(px, py);
    camera.go(x, y, Math.max(CLOSE, camera.scale * 1.6));
  };
  listen(stage, camera, {
    signal,
    tap(px, py, { fine, twice }) {
      const { seat, block } = at(px, py);
      if (block?.section.byCount) return count(block.section);
      if (camera.scale < (fine ? PICK.fine : PICK.coarse)) return closer(px, py);
      if (seat >= 0) {
        // The tap that asked for a closer look is not to choose as well.
        if (!twice || mine.has(seat)) pick(seat);
      } else if (twice) {
        closer(px, py);
      }
    },
    hover(px, py) {
      const { seat, block } = px === undefined || camera.scale < PICK.fine ? { seat: -1 } : at(px, py);
      tip.hidden = seat < 0;
      stage.classList.toggle("over", seat >= 0 && plan.statuses[seat] === AVAILABLE || Boolean(block?.section.byCount));
      if (seat < 0) return;
      tip.textContent = tell(seat);
      tip.style.left = `${Math.min(Math.max(px, 110), Math.max(camera.width - 110, 110))}px`;
      tip.style.top = `${py > 80 ? py - 18 : py + 60}px`;
    },
  });

  // ---- keys ---------------------------------------------------------------

  const seated = places.blocks.filter(({ lines }) => lines.length > 0);
  const first = () => {
    if (mine.size) return [...mine].at(-1);
    const free = plan.statuses.findIndex((status, i) => status === AVAILABLE && !plan.row(i).section.byCount);
    return free >= 0 ? free : seated[0]?.lines[0].first ?? -1;
  };
  const show = (seat) => {
    shown.cursor = cursor = seat;
    if (seat >= 0) {
      camera.reveal(places.x[seat], places.y[seat], Math.max(camera.scale, CLOSE));
      say(tell(seat));
    }
    redraw();
  };
  const jump = (by) => {
    const here = seated.findIndex(({ section }) => section === plan.row(cursor).section);
    const there = seated[(here + by + seated.length) % seated.length];
    show(there.lines[0].first + Math.floor(there.lines[0].len / 2));
  };
  const ends = (last) => {
    const line = places.lines[places.lineAt[cursor]];
    show(last ? line.first + line.len - 1 : line.first);
  };
  const keys = {
    "+": () => camera.go(...home(), camera.scale * 1.5),
    "=": () => camera.go(...home(), camera.scale * 1.5),
    "-": () => camera.go(...home(), camera.scale / 1.5),
    0: () => camera.go(camera.middle.x, camera.middle.y, camera.whole),
    Enter: () => pick(cursor),
    " ": () => pick(cursor),
    Home: () => ends(false),
    End: () => ends(true),
    PageUp: () => jump(-1),
    PageDown: () => jump(1),
  };
  const home = () => (cursor >= 0 ? [places.x[cursor], places.y[cursor]] : [camera.x, camera.y]);
  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || seated.length === 0) return;
    const arrow = ARROWS[event.key];
    if (!arrow && !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    camera.stop();
    if (cursor < 0) show(first());
    else if (arrow) show(neighbour(places, cursor, ...arrow));
    else keys[event.key]();
  }, { signal });
  stage.addEventListener("focus", () => stage.matches(":focus-visible") && show(cursor >= 0 ? cursor : first()), { signal });
  stage.addEventListener("blur", () => { shown.cursor = -1; redraw(); }, { signal });

  return {
    node,
    camera,
    /** These seats stand otherwise now. */
    changed(seats) {
      painter.changed(seats);
      redraw();
    },
    redraw,
    focus: () => stage.focus({ preventScroll: true }),
    /** Marks seats that are offered and shows where they are. */
    offer(seats) {
      shown.offered = new Set(seats);
      if (seats.length > 0) camera.reveal(places.x[seats[0]], places.y[seats[0]], Math.max(camera.scale, CLOSE));
      redraw();
    },
  };
}

// How seats look: colours and shapes by price, and little pictures of them.
//
// A price has a colour and a shape, so that either alone tells it. Colours are
// the style sheet's, `--price-0` to `--price-7`.

import { AVAILABLE, HELD } from "./plan.js";

export const FONT = "system-ui, -apple-system, 'Apple SD Gothic Neo', 'Noto Sans KR', 'Noto Sans CJK JP', sans-serif";
const COLOURS = 8;
const SHAPES = ["chair", "round", "diamond", "square", "hexagon"];
/** Of the distance between seats. */
const SIZE = 0.84;

/** The prices of a plan, dearest first; a section without a price of its own shares a look. */
export function pricesOf(plan) {
  return [...new Set(plan.sections.map(({ price }) => price))].sort((a, b) => b - a);
}

/** The colours of the page as they are now, light or dark. */
export function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    prices: Array.from({ length: COLOURS }, (_, at) => of(`price-${at}`)),
    onPrice: of("on-price"), ground: of("map"), plate: of("plate"), line: of("line"), gone: of("gone"),
    ink: of("ink"), quiet: of("quiet"), card: of("card"), accent: of("accent"),
  };
}

/** Draws the outline of a price's shape around a point. */
function outline(ctx, price, x, y, r) {
  const corners = (count, turn) => {
    for (let at = 0; at < count; at++) {
      const angle = turn + (2 * Math.PI * at) / count;
      ctx.lineTo(x + r * Math.cos(angle), y + r * Math.sin(angle));
    }
    ctx.closePath();
  };
  ctx.beginPath();
  switch (SHAPES[price % SHAPES.length]) {
    case "chair": return ctx.roundRect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r, [0.8 * r, 0.8 * r, 0.2 * r, 0.2 * r]);
    case "diamond": return corners(4, 0);
    case "square": return ctx.roundRect(x - 0.85 * r, y - 0.85 * r, 1.7 * r, 1.7 * r, 0.2 * r);
    case "hexagon": return corners(6, 0);
    default: return ctx.arc(x, y, 0.95 * r, 0, 2 * Math.PI);
  }
}

/** Draws a seat of the price `price` (its rank) as it stands, `r` its half size. */
export function drawSeat(ctx, colour, price, status, x, y, r) {
  if (status === AVAILABLE) {
    outline(ctx, price, x, y, r);
    ctx.fillStyle = colour.prices[price % COLOURS];
    return ctx.fill();
  }
  ctx.beginPath();
  ctx.arc(x, y, status === HELD ? 0.6 * r : 0.4 * r, 0, 2 * Math.PI);
  ctx.lineWidth = Math.max(1, 0.2 * r);
  ctx.strokeStyle = ctx.fillStyle = colour.gone;
  if (status === HELD) ctx.stroke();
  else ctx.fill();
}

/** A seat of one's own: large, with a tick. */
export function drawMine(ctx, colour, x, y, r) {
  ctx.beginPath();
  ctx.arc(x, y, 1.25 * r, 0, 2 * Math.PI);
  ctx.fillStyle = colour.ground;
  ctx.fill();
  ctx.beginPath();
  ctx.arc(x, y, 1.1 * r, 0, 2 * Math.PI);
  ctx.fillStyle = colour.ink;
  ctx.fill();
  ctx.beginPath();
  ctx.moveTo(x - 0.45 * r, y + 0.02 * r);
  ctx.lineTo(x - 0.12 * r, y + 0.38 * r);
  ctx.lineTo(x + 0.5 * r, y - 0.36 * r);
  ctx.strokeStyle = colour.ground;
  ctx.lineWidth = 0.24 * r;
  ctx.stroke();
}

/** Pictures of seats in device pixels, each drawn once. */
export class Pictures {
  constructor(colour) {
    this.colour = colour;
    this.kept = new Map();
    this.ctx = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  }

  /** A square picture of a seat, `scale` pixels from its neighbour, with a number on it or without: `{ size, pixels }`. */
  of(price, status, scale, label = "") {
    const size = Math.max(2, Math.round(scale));
    const key = `${size} ${price % (COLOURS * SHAPES.length)} ${status} ${label}`;
    const found = this.kept.get(key);
    if (found) return found;
    if (this.kept.size > 4_000) this.kept.clear();
    const { ctx } = this;
    if (ctx.canvas.width < size) Object.assign(ctx.canvas, { width: size, height: size });
    ctx.clearRect(0, 0, size, size);
    drawSeat(ctx, this.colour, price, status, size / 2, size / 2, (size * SIZE) / 2);
    if (label) {
      ctx.font = `600 ${size * 0.36}px ${FONT}`;
      ctx.textAlign = "center";
      ctx.textBaseline = "middle";
      ctx.fillStyle = this.colour.onPrice;
      ctx.fillText(label, size / 2, size / 2 + size / 40);
    }
    const picture = { size, pixels: new Uint32Array(ctx.getImageData(0, 0, size, size).data.buffer) };
    this.kept.set(key, picture);
    return picture;
  }
}

// Draws the house: from afar one picture kept ready, near by seat for seat.
//
// Owns the canvas; answers no gesture. Only what is in the window is drawn.

import { colours, drawMine, FONT, Pictures, pricesOf } from "./look.js";
import { AVAILABLE } from "./plan.js";
import { Raster } from "./raster.js";

/** From so many device pixels a seat on, each is drawn by itself. */
const SINGLE = 9;
/** CSS pixels a seat from which its number, its row's name can be read. */
const NUMBERS = 22;
const ROW_NAMES = 13;
/** Device pixels of the picture of the whole house, at most. */
const MOST_PIXELS = 4_000_000;
/** A change of more seats paints the picture anew. */
const MANY = 2_000;
/** Halves of it, for a look from farther. */
const HALVES = 3;

export class Painter {
  /**
   * `shown` tells what else there is to see: `mine`, `offered` (sets of seats),
   * `cursor` (a seat or -1); `words(section)` gives the lines of its sign.
   */
  constructor(canvas, plan, places, camera, shown, words) {
    Object.assign(this, { canvas, plan, places, camera, shown, words });
    this.ctx = canvas.getContext("2d");
    this.rank = new Map(pricesOf(plan).map((price, at) => [price, at]));
    this.afar = new Raster();
    this.near = new Raster();
    this.halves = Array.from({ length: HALVES }, () => document.createElement("canvas"));
    this.recolour();
  }

  /** Takes the colours of the page, which may have become dark. */
  recolour() {
    this.colour = colours();
    this.pictures = new Pictures(this.colour);
    this.#paintAfar();
  }

  resize(width, height) {
    this.ratio = Math.min(devicePixelRatio || 1, 3);
    this.canvas.width = Math.round(width * this.ratio);
    this.canvas.height = Math.round(height * this.ratio);
  }

  /** Seats stand otherwise than before. */
  changed(seats) {
    if (seats.length > MANY) return this.#paintAfar();
    for (const i of seats) {
      const [x, y] = this.#afar(i);
      this.afar.clear(Math.round(this.grain), x, y);
      this.afar.put(this.#picture(i, this.grain), x, y);
      this.#showAfar(Math.floor(x - this.grain), Math.floor(y - this.grain), Math.ceil(2 * this.grain), Math.ceil(2 * this.grain));
    }
  }

  #afar(i) {
    const { left, top } = this.places.box;
    return [(this.places.x[i] - left) * this.grain, (this.places.y[i] - top) * this.grain];
  }

  #picture(i, scale) {
    return this.pictures.of(this.rank.get(this.plan.row(i).section.price), this.plan.statuses[i], scale);
  }

  #paintAfar() {
    const { left, top, right, bottom } = this.places.box;
    const [width, height] = [right - left, bottom - top];
    this.grain = Math.min(SINGLE, Math.sqrt(MOST_PIXELS / (width * height)));
    this.afar.reset(Math.ceil(width * this.grain), Math.ceil(height * this.grain));
    const whole = this.afar.canvas;
    this.halves.forEach((half, at) => {
      half.width = whole.width >> (at + 1) || 1;
      half.height = whole.height >> (at + 1) || 1;
    });
    this.#seats(this.afar, this.places.lines, this.grain, -left * this.grain, -top * this.grain);
    this.#showAfar(0, 0, whole.width, whole.height);
  }

  /** Brings a part of the picture to its canvas, and to its halves. */
  #showAfar(x, y, width, height) {
    this.afar.show(x, y, width, height);
    let from = this.afar.canvas;
    for (const half of this.halves) {
      [x, y] = [x & ~1, y & ~1];
      [width, height] = [(width + 3) & ~1, (height + 3) & ~1];
      const ctx = half.getContext("2d");
      ctx.clearRect(x / 2, y / 2, width / 2, height / 2);
      ctx.drawImage(from, x, y, width, height, x / 2, y / 2, width / 2, height / 2);
      [x, y, width, height, from] = [x / 2, y / 2, width / 2, height / 2, half];
    }
  }

  /** Puts the seats of these lines, `scale` pixels apart, into a raster; free ones with their numbers if so wished. */
  #seats(raster, lines, scale, dx, dy, numbered = false) {
    const { plan, plan: { statuses }, places: { x, y } } = this;
    const { width, height } = raster.image;
    for (const line of lines) {
      const price = this.rank.get(line.row.section.price);
      const pictures = [0, 1, 2].map((status) => this.pictures.of(price, status, scale));
      for (let i = line.first; i < line.first + line.len; i++) {
        const px = x[i] * scale + dx;
        const py = y[i] * scale + dy;
        if (px < -scale || py < -scale || px > width + scale || py > height + scale) continue;
        const label = numbered && statuses[i] === AVAILABLE ? numberOf(plan.seat(i)) : "";
        raster.put(label ? this.pictures.of(price, AVAILABLE, scale, label) : pictures[statuses[i]], px, py);
      }
    }
  }

  draw() {
    const { ctx, camera, ratio } = this;
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.fillStyle = this.colour.ground;
    ctx.fillRect(0, 0, camera.width, camera.height);
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    this.#grounds();
    if (camera.scale * ratio < SINGLE) this.#fromAfar();
    else this.#fromNear();
    this.#signs();
    this.#marks();
  }

  #path(edge) {
    this.ctx.beginPath();
    for (const [x, y] of edge) this.ctx.lineTo(...this.camera.toScreen(x, y));
    this.ctx.closePath();
  }

  #seen({ left, top, right, bottom }) {
    const [x0, y0] = this.camera.toScreen(left, top);
    const [x1, y1] = this.camera.toScreen(right, bottom);
    return x1 >= 0 && y1 >= 0 && x0 <= this.camera.width && y0 <= this.camera.height;
  }

  #grounds() {
    const { ctx, colour, places } = this;
    ctx.lineWidth = 1;
    ctx.strokeStyle = colour.line;
    this.#path(places.stage.edge);
    ctx.fillStyle = colour.line;
    ctx.fill();
    for (const block of places.blocks) {
      if (!this.#seen(block.box)) continue;
      this.#path(block.edge);
      ctx.fillStyle = colour.plate;
      ctx.fill();
      if (!block.section.byCount) continue;
      ctx.strokeStyle = block.section.free || block.section.kind === "expandable" ? this.#price(block.section) : colour.line;
      ctx.lineWidth = 2;
      ctx.stroke();
    }
  }

  #price(section) {
    return this.colour.prices[this.rank.get(section.price) % this.colour.prices.length];
  }

  #fromAfar() {
    const { ctx, camera, places: { box } } = this;
    const [x, y] = camera.toScreen(box.left, box.top);
    const wanted = camera.scale * this.ratio;
    const pictures = [this.afar.canvas, ...this.halves];
    const at = Math.min(Math.max(Math.floor(Math.log2(this.grain / wanted)), 0), HALVES);
    ctx.imageSmoothingQuality = "low";
    const size = camera.scale / this.grain;
    ctx.drawImage(pictures[at], x, y, this.afar.canvas.width * size, this.afar.canvas.height * size);
  }

  #fromNear() {
    const { ctx, camera, places, ratio, near } = this;
    const lines = places.lines.filter((line) => this.#seen(line.box));
    const scale = camera.scale * ratio;
    near.reset(this.canvas.width, this.canvas.height);
    const [dx, dy] = camera.toScreen(0, 0);
    this.#seats(near, lines, scale, dx * ratio, dy * ratio, camera.scale >= NUMBERS);
    near.show();
    ctx.drawImage(near.canvas, 0, 0, camera.width, camera.height);
    if (camera.scale >= ROW_NAMES) this.#rowNames(lines);
  }

  #rowNames(lines) {
    const { ctx, camera, places: { x, y } } = this;
    ctx.font = `${Math.min(14, camera.scale * 0.45)}px ${FONT}`;
    ctx.fillStyle = this.colour.quiet;
    for (const { first, len, row, head } of lines) {
      if (!head || !row.label) continue;
      const name = row.label.length > 5 ? `${row.label.slice(0, 4)}…` : row.label;
      const [last, before] = [first + len - 1, first + Math.max(0, len - 2)];
      const step = len > 1 ? [x[first] - x[first + 1], y[first] - y[first + 1]] : [-1, 0];
      const end = len > 1 ? [x[last] - x[before], y[last] - y[before]] : [1, 0];
      ctx.fillText(name, ...camera.toScreen(x[first] + 1.1 * step[0], y[first] + 1.1 * step[1]));
      ctx.fillText(name, ...camera.toScreen(x[last] + 1.1 * end[0], y[last] + 1.1 * end[1]));
    }
  }

  /** The stage's sign, and each section's: on it from afar, before it near by. */
  #signs() {
    const { ctx, camera, colour, places } = this;
    const stage = camera.toScreen(...places.stage.centre);
    ctx.fillStyle = colour.ink;
    const size = Math.min(16, Math.max(9, camera.scale * 1.8));
    ctx.font = `600 ${size}px ${FONT}`;
    ctx.fillText(this.words(null)[0], ...stage);
    const near = camera.scale >= ROW_NAMES;
    for (const block of places.blocks) {
      if (!this.#seen({ ...block.box, top: block.box.top - 3 })) continue;
      const lines = this.words(block.section);
      if (near && !block.section.byCount) {
        this.#title(block, lines.slice(0, 2).join(" · "));
      } else {
        this.#sign(block, lines);
      }
    }
  }

  /** A section's name along its front. */
  #title(block, text) {
    const { ctx, camera } = this;
    ctx.font = `600 ${Math.min(17, camera.scale)}px ${FONT}`;
    ctx.fillStyle = this.colour.ink;
    ctx.save();
    ctx.translate(...camera.toScreen(...block.label));
    ctx.rotate(-block.angle);
    ctx.fillText(shorten(ctx, text, block.width * camera.scale), 0, 0);
    ctx.restore();
  }

  /** A sign in the middle of a section, as much of it as there is room for. */
  #sign(block, lines) {
    const { ctx, camera, colour } = this;
    const room = block.width * camera.scale - 4;
    const size = camera.scale > 9 ? 14 : 11.5;
    ctx.font = `600 ${size}px ${FONT}`;
    const deep = block.depth * camera.scale;
    const most = Math.max(Math.floor((deep * (block.section.byCount ? 1 : 0.5)) / (size * 1.25)), deep > size * 1.3 ? 1 : 0);
    const kept = lines.flatMap((line) => wrap(ctx, line, room, most)).slice(0, most);
    if (kept.length === 0 || kept.some((line) => ctx.measureText(line).width > room + 4)) return;
    const [x, y] = camera.toScreen(...block.centre);
    const width = Math.max(...kept.map((line) => ctx.measureText(line).width)) + 12;
    const height = kept.length * size * 1.25 + 4;
    if (!block.section.byCount) {
      ctx.beginPath();
      ctx.roundRect(x - width / 2, y - height / 2, width, height, 6);
      ctx.globalAlpha = 0.88;
      ctx.fillStyle = colour.card;
      ctx.fill();
      ctx.globalAlpha = 1;
    }
    ctx.fillStyle = colour.ink;
    kept.forEach((line, at) => ctx.fillText(line, x, y + (at - (kept.length - 1) / 2) * size * 1.25));
  }

  #marks() {
    const { ctx, camera, colour, places, shown } = this;
    const r = Math.max(0.42 * camera.scale, 5);
    const ring = (i, width, stroke, size) => {
      ctx.beginPath();
      ctx.arc(...camera.toScreen(places.x[i], places.y[i]), size, 0, 2 * Math.PI);
      ctx.lineWidth = width;
      ctx.strokeStyle = stroke;
      ctx.stroke();
    };
    for (const i of shown.mine) drawMine(ctx, colour, ...camera.toScreen(places.x[i], places.y[i]), r);
    for (const i of shown.offered) {
      ring(i, 5, colour.ground, r + 4);
      ring(i, 3, colour.ink, r + 4);
    }
    if (shown.cursor < 0) return;
    ring(shown.cursor, 6, colour.ground, r + 4);
    ring(shown.cursor, 3.5, colour.accent, r + 4);
  }
}

/** What is written on a seat. */
const numberOf = (seat) => (seat.accessible ? "\u267f\ufe0e" : String(seat.number));

/** A text in at most two lines of that width, cut at spaces. */
function wrap(ctx, text, room, most) {
  if (ctx.measureText(text).width <= room) return [text];
  if (most < 2) return [shorten(ctx, text, room)];
  const words = text.split(/\s+/);
  for (let cut = words.length - 1; cut > 0; cut--) {
    const head = words.slice(0, cut).join(" ");
    if (ctx.measureText(head).width <= room) return [head, shorten(ctx, words.slice(cut).join(" "), room)];
  }
  return [shorten(ctx, text, room)];
}

/** As much of a text as fits, by characters as people see them. */
function shorten(ctx, text, room) {
  if (ctx.measureText(text).width <= room) return text;
  const parts = [...new Intl.Segmenter().segment(text)].map(({ segment }) => segment);
  while (parts.length > 1 && ctx.measureText(`${parts.join("")}…`).width > room) parts.pop();
  return `${parts.join("")}…`;
}

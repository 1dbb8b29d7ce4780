// What part of the house the window shows, and how large.
//
// `scale` is CSS pixels a unit; all else is in units. Owns its movement, too.

/** A seat is never larger. */
const LARGEST = 52;
const MOVE_MS = 260;

export class Camera {
  /** Over a box of the house; `changed()` is called after each movement. */
  constructor(box, changed) {
    Object.assign(this, { box, changed, width: 1, height: 1, x: 0, y: 0, scale: 1, moving: 0 });
  }

  /** Looks at what another camera looks at. */
  lookAs({ x, y, scale, width, height }) {
    Object.assign(this, { x, y, scale, width, height });
  }

  /** The scale at which the whole house is seen. */
  get whole() {
    const { left, right, top, bottom } = this.box;
    return Math.min(this.width / (right - left), this.height / (bottom - top), LARGEST / 2);
  }

  /** The window has another size. What was in its middle stays there. */
  resize(width, height) {
    const all = this.scale <= this.whole * 1.01 || this.width === 1;
    Object.assign(this, { width, height });
    if (all) this.set(this.middle.x, this.middle.y, this.whole);
    else this.set(this.x, this.y, this.scale);
  }

  get middle() {
    return { x: (this.box.left + this.box.right) / 2, y: (this.box.top + this.box.bottom) / 2 };
  }

  toScreen(x, y) {
    return [(x - this.x) * this.scale + this.width / 2, (y - this.y) * this.scale + this.height / 2];
  }

  toWorld(px, py) {
    return [(px - this.width / 2) / this.scale + this.x, (py - this.height / 2) / this.scale + this.y];
  }

  /** Looks there, as far as there is something to see. */
  set(x, y, scale) {
    this.scale = Math.min(Math.max(scale, this.whole), LARGEST);
    const within = (value, low, high, size) => {
      const half = size / this.scale / 2;
      return high - low <= 2 * half ? (low + high) / 2 : Math.min(Math.max(value, low + half), high - half);
    };
    this.x = within(x, this.box.left, this.box.right, this.width);
    this.y = within(y, this.box.top, this.box.bottom, this.height);
    this.changed();
  }

  stop() {
    cancelAnimationFrame(this.moving);
  }

  /** Moves by so many pixels. */
  pan(dx, dy) {
    this.set(this.x - dx / this.scale, this.y - dy / this.scale, this.scale);
  }

  /** Makes it so many times larger; what is at the pixel stays there. */
  zoom(factor, px, py) {
    this.pin(...this.toWorld(px, py), px, py, this.scale * factor);
  }

  /** Brings a point of the house to a pixel, at that scale. */
  pin(x, y, px, py, wanted) {
    const scale = Math.min(Math.max(wanted, this.whole), LARGEST);
    this.set(x - (px - this.width / 2) / scale, y - (py - this.height / 2) / scale, scale);
  }

  /** Goes there, at once for those who do not like things to move. */
  go(x, y, scale) {
    this.stop();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return this.set(x, y, scale);
    const from = { x: this.x, y: this.y, scale: this.scale };
    const start = performance.now();
    const step = (now) => {
      const part = Math.min(Math.max((now - start) / MOVE_MS, 0), 1);
      const eased = 1 - (1 - part) ** 3;
      const size = from.scale * (scale / from.scale) ** eased;
      // The place moves as the size does, so that the way there is straight.
      const way = scale === from.scale ? eased : (1 / from.scale - 1 / size) / (1 / from.scale - 1 / scale);
      this.set(from.x + (x - from.x) * way, from.y + (y - from.y) * way, size);
      if (part < 1) this.moving = requestAnimationFrame(step);
    };
    this.moving = requestAnimationFrame(step);
  }

  /** Goes on moving after a finger let go, at pixels a millisecond, ever slower. */
  glide(vx, vy) {
    this.stop();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    let last = performance.now();
    const step = (now) => {
      const ms = Math.min(Math.max(now - last, 0), 40);
      last = now;
      this.pan(vx * ms, vy * ms);
      vx *= 0.995 ** ms;
      vy *= 0.995 ** ms;
      if (Math.hypot(vx, vy) > 0.02) this.moving = requestAnimationFrame(step);
    };
    this.moving = requestAnimationFrame(step);
  }

  /** Brings a point into the window, with a margin in pixels, if it is not there. */
  reveal(x, y, scale = this.scale, margin = 60) {
    const [px, py] = this.toScreen(x, y);
    const inside = px > margin && py > margin && px < this.width - margin && py < this.height - margin;
    if (!inside || scale > this.scale) this.go(x, y, Math.max(scale, this.scale));
  }
}

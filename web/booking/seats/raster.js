// Thousands of little pictures in one: pixels copied by hand, then shown at once.
//
// A browser's `drawImage` for each seat takes twenty times as long.

export class Raster {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.ctx = this.canvas.getContext("2d");
  }

  /** Empty, of that size in pixels. */
  reset(width, height) {
    if (this.image?.width !== width || this.image?.height !== height) {
      Object.assign(this.canvas, { width, height });
      this.image = new ImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
    } else {
      this.pixels.fill(0);
    }
  }

  /** Puts a picture's middle at a pixel; what is outside is left out. */
  put({ size, pixels }, x, y) {
    const { width, height } = this.image;
    const [left, top] = [Math.round(x - size / 2), Math.round(y - size / 2)];
    const [from, to] = [Math.max(0, -left), Math.min(size, width - left)];
    for (let row = Math.max(0, -top); row < Math.min(size, height - top); row++) {
      let at = (top + row) * width + left + from;
      for (let i = row * size + from; i < row * size + to; i++, at++) if (pixels[i] !== 0) this.pixels[at] = pixels[i];
    }
  }

  /** Empties a square around a pixel. */
  clear(size, x, y) {
    const { width, height } = this.image;
    const [left, top] = [Math.round(x - size / 2), Math.round(y - size / 2)];
    for (let row = Math.max(0, top); row < Math.min(height, top + size); row++) {
      this.pixels.fill(0, row * width + Math.max(0, left), row * width + Math.min(width, left + size));
    }
  }

  /** Shows what was put, all of it or a part. */
  show(x = 0, y = 0, width = this.image.width, height = this.image.height) {
    this.ctx.putImageData(this.image, 0, 0, x, y, width, height);
  }
}

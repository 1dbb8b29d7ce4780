// Mouse, finger and pen on the map: drag, pinch, wheel, tap.
//
// Turns them into the camera's movements and into taps; what a tap means is
// not its matter.

/** Pixels a finger may tremble. */
const STILL = 8;
/** A second tap within this is part of the first. */
const TWICE_MS = 320;
const WHEEL = 0.0018;

/**
 * Listens on `node` until `signal` aborts. `tap(x, y, { fine, twice })` and
 * `hover(x, y)` get pixels of the node; `hover()` without any says it left.
 */
export function listen(node, camera, { tap, hover, signal }) {
  const down = new Map();
  let moved = false;
  let pinch = null;
  let speed = { x: 0, y: 0, at: 0 };
  let last = { x: 0, y: 0, at: -Infinity };
  const on = (name, work, options = {}) => node.addEventListener(name, work, { signal, ...options });
  const spot = (event) => {
    const { left, top } = node.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  };
  const spread = () => {
    const [a, b] = [...down.values()];
    return { far: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
  };

  on("pointerdown", (event) => {
    if (event.button !== 0 || down.size === 2) return;
    camera.stop();
    node.setPointerCapture(event.pointerId);
    if (down.size === 0) moved = false;
    down.set(event.pointerId, { ...spot(event), from: spot(event) });
    if (down.size === 2) {
      const { x, y, far } = spread();
      // What is between the fingers stays between them.
      pinch = { at: camera.toWorld(x, y), size: camera.scale / Math.max(far, 1) };
    }
    speed = { x: 0, y: 0, at: event.timeStamp };
  });

  on("pointermove", (event) => {
    const finger = down.get(event.pointerId);
    const now = spot(event);
    if (!finger) return event.pointerType === "mouse" && hover(now.x, now.y);
    if (down.size === 2) {
      Object.assign(finger, now);
      moved = true;
      const { x, y, far } = spread();
      return camera.pin(...pinch.at, x, y, pinch.size * far);
    }
    if (!moved && Math.hypot(now.x - finger.from.x, now.y - finger.from.y) < STILL) return;
    moved = true;
    hover();
    const [dx, dy] = [now.x - finger.x, now.y - finger.y];
    const ms = Math.max(event.timeStamp - speed.at, 1);
    speed = { x: 0.6 * speed.x + 0.4 * (dx / ms), y: 0.6 * speed.y + 0.4 * (dy / ms), at: event.timeStamp };
    camera.pan(dx, dy);
    Object.assign(finger, now);
  });

  const up = (event) => {
    const finger = down.get(event.pointerId);
    if (!finger) return;
    down.delete(event.pointerId);
    if (event.type === "pointercancel" || down.size > 0) return;
    if (moved) return event.timeStamp - speed.at < 60 && camera.glide(speed.x, speed.y);
    const now = spot(event);
    const twice = event.timeStamp - last.at < TWICE_MS && Math.hypot(now.x - last.x, now.y - last.y) < 30;
    last = { ...now, at: event.timeStamp };
    tap(now.x, now.y, { fine: event.pointerType === "mouse", twice });
  };
  on("pointerup", up);
  on("pointercancel", up);
  on("pointerleave", () => hover());

  on("wheel", (event) => {
    event.preventDefault();
    camera.stop();
    const { x, y } = spot(event);
    // Lines and pages of the wheel as pixels; a pinch on a touchpad comes with Ctrl, and small.
    const pixels = event.deltaY * [1, 16, 400][event.deltaMode];
    const factor = Math.exp(-Math.max(-400, Math.min(400, pixels)) * WHEEL * (event.ctrlKey ? 6 : 1));
    camera.zoom(factor, x, y);
  }, { passive: false });
}

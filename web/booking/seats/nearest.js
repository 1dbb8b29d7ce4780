// Seats to offer to somebody who came too late: as many, as near as can be.
//
// Pure: by the places on the map and what is free now.

import { AVAILABLE } from "./plan.js";

/** From the other end of the row, or in another section: so much farther, it feels. */
const OTHER_SECTION = 30;

/**
 * The seats to offer instead of `wanted`, a list of seats; [] when there are too
 * few. `may(i)` says whether a free seat is for this buyer. Side by side if one
 * row has so many, else those nearest.
 */
export function nearest(plan, places, wanted, may = () => true) {
  if (wanted.length === 0) return [];
  const mid = (axis) => wanted.reduce((sum, i) => sum + axis[i], 0) / wanted.length;
  const [x, y] = [mid(places.x), mid(places.y)];
  const home = plan.row(wanted[0]).section;
  const price = Math.max(...wanted.map((i) => plan.row(i).section.price));
  const far = (i) => Math.hypot(places.x[i] - x, places.y[i] - y)
    + (plan.row(i).section === home ? 0 : OTHER_SECTION);
  // A dearer seat is no help.
  const suits = (i) => plan.statuses[i] === AVAILABLE && plan.row(i).section.price <= price && may(i);

  let best = { seats: [], far: Infinity };
  const loose = [];
  for (const line of places.lines) {
    if (line.row.section.price > price || line.row.section.free === 0) continue;
    let run = [];
    for (let i = line.first; i < line.first + line.len; i++) {
      run = suits(i) ? [...run.slice(1 - wanted.length || run.length), i] : [];
      if (run.length === 0) continue;
      loose.push(i);
      if (run.length < wanted.length) continue;
      const sum = run.reduce((total, seat) => total + far(seat), 0);
      if (sum < best.far) best = { seats: run, far: sum };
    }
  }
  if (best.seats.length > 0) return best.seats;
  if (loose.length < wanted.length) return [];
  return loose.sort((a, b) => far(a) - far(b)).slice(0, wanted.length).sort((a, b) => a - b);
}

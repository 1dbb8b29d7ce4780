// Where each seat is drawn. The office knows sections, rows and numbers, no
// places: here they become tiers on arcs around a stage, the first section
// nearest. One unit is the distance from a seat to the next.
//
// Pure: the same plan, the same places.

/** Seats in a line; longer rows are folded. */
const LONGEST = 64;
/** Between sections side by side, and between tiers. */
const AISLE = 2.5;
const GANGWAY = 4;
/** So much of the circle the first tier spans at most, and any, in radians. */
const BENT = { first: 1.25, any: 1.7 };
const STAGE = { gap: 3, depth: 3.5, grows: 0.03 };

/** A section's lines of seats, and the room it takes. */
function shape(section) {
  if (section.byCount) {
    const side = Math.min(Math.max(Math.sqrt(section.len) * 0.7, 8), 40);
    return { section, lines: [], width: side * 1.8, depth: side };
  }
  const lines = section.rows.flatMap((row) => {
    const folds = Math.ceil(row.len / LONGEST);
    const len = Math.ceil(row.len / folds);
    return Array.from({ length: folds }, (_, at) => ({
      row, head: at === 0, first: row.first + at * len, len: Math.min(len, row.len - at * len),
    })).filter((line) => line.len > 0);
  });
  return { section, lines, width: Math.max(6, ...lines.map((line) => line.len)), depth: Math.max(1, lines.length) };
}

/** Whether two neighbours in the list belong to one part of the house. */
function alike(a, b) {
  const first = (block) => block.section.name.trim().split(/\s+/);
  const [one, two] = [first(a), first(b)];
  return one.length > 1 && two.length > 1 ? one[0] === two[0] : a.section.price === b.section.price;
}

/** Cuts the list of sections into tiers about as wide as the house is to be. */
function tiersOf(blocks, ratio) {
  const area = blocks.reduce((sum, { width, depth }) => sum + (width + AISLE) * (depth + GANGWAY), 0);
  const wanted = Math.max(Math.sqrt(area * ratio), ...blocks.map(({ width }) => width));
  const best = [{ cost: 0 }];
  for (let end = 1; end <= blocks.length; end++) {
    let width = -AISLE;
    best[end] = { cost: Infinity };
    for (let start = end - 1; start >= 0; start--) {
      width += blocks[start].width + AISLE;
      if (width > 2 * wanted && start < end - 1) break;
      const off = (width - wanted) / wanted;
      const cut = start === 0 ? 0 : alike(blocks[start - 1], blocks[start]) ? 0.4 : -0.2;
      const cost = best[start].cost + off * off + cut;
      if (cost < best[end].cost) best[end] = { cost, start, width };
    }
  }
  const tiers = [];
  for (let end = blocks.length; end > 0; end = best[end].start) {
    const { start, width } = best[end];
    const own = blocks.slice(start, end);
    tiers.unshift({ blocks: own, width, depth: Math.max(...own.map(({ depth }) => depth)) });
  }
  return tiers;
}

const at = (r, angle) => [r * Math.sin(angle), r * Math.cos(angle)];

/** The outline of a part of a ring; its ends stand as wide at the back as in front. */
function outline(inner, outer, angle, half) {
  const steps = 12;
  const arc = (r) => Array.from({ length: steps + 1 }, (_, step) => at(r, angle + (half / r) * (1 - (2 * step) / steps)));
  return [...arc(inner), ...arc(outer).reverse()];
}

/** The smallest box around points `[x, y]`, with a margin. */
function boxOf(points, margin) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    left = Math.min(left, x - margin);
    right = Math.max(right, x + margin);
    top = Math.min(top, y - margin);
    bottom = Math.max(bottom, y + margin);
  }
  return { left, top, right, bottom };
}

/**
 * Where a plan's seats are: `x` and `y` by seat, blocks by section, the stage, the
 * box around all; about `ratio` times as wide as deep, as the window is.
 */
export function place(plan, ratio = 1.3) {
  const x = new Float32Array(plan.count);
  const y = new Float32Array(plan.count);
  const lineAt = new Uint32Array(plan.count);
  const tiers = tiersOf(plan.sections.map(shape), ratio);
  let depth = 0;
  let front = Math.max(16, (tiers[0]?.width ?? 0) / BENT.first);
  for (const tier of tiers) {
    front = Math.max(front, tier.width / BENT.any - depth);
    depth += tier.depth + GANGWAY;
  }
  const lines = [];
  const blocks = [];
  let r = front;
  for (const tier of tiers) {
    let along = -tier.width / 2;
    for (const block of tier.blocks) {
      const angle = (along + block.width / 2) / r;
      along += block.width + AISLE;
      setLines(block, r, angle);
      const edge = outline(r - 0.8, r + block.depth - 0.2, angle, block.width / 2 + 0.3);
      const centre = at(r + (block.depth - 1) / 2, angle);
      blocks.push({ ...block, r, angle, edge, centre, box: boxOf(edge, 0), label: at(r - 2, angle) });
    }
    r += tier.depth + GANGWAY;
  }
  function setLines(block, inner, angle) {
    block.lines.forEach((line, back) => {
      Object.assign(line, { r: inner + back, angle, at: lines.length });
      const points = [];
      for (let k = 0; k < line.len; k++) {
        const point = at(line.r, angle + (k - (line.len - 1) / 2) / line.r);
        [x[line.first + k], y[line.first + k]] = point;
        points.push(point);
      }
      lineAt.fill(line.at, line.first, line.first + line.len);
      line.box = boxOf(points, 0.6);
      lines.push(line);
    });
  }
  const deep = STAGE.depth + STAGE.grows * front;
  const apron = front - STAGE.gap - deep;
  const stage = outline(apron, front - STAGE.gap, 0, Math.min((tiers[0]?.width ?? 8) / 5 + 2, 0.6 * apron));
  const box = boxOf([...blocks.flatMap(({ edge }) => edge), ...stage], 2);
  return { x, y, lines, lineAt, blocks, stage: { edge: stage, centre: at(apron + deep / 2, 0) }, box };
}

/** What is at a point: `{ seat }`, or `{ block }` of a section, or neither. */
export function whatIsAt(places, px, py) {
  const [r, angle] = [Math.hypot(px, py), Math.atan2(px, py)];
  const block = places.blocks.find((each) => r > each.r - 1 && r < each.r + each.depth
    && Math.abs(angle - each.angle) * r < each.width / 2 + 0.6);
  const line = block?.lines[Math.round(r - block.r)];
  if (!line) return { seat: -1, block };
  const k = Math.round((angle - line.angle) * line.r + (line.len - 1) / 2);
  return { seat: k >= 0 && k < line.len ? line.first + k : -1, block };
}

/** The seat next to seat `i` in a direction, `i` itself at the end of the house. */
export function neighbour(places, i, dx, dy) {
  const line = places.lines[places.lineAt[i]];
  if (dx !== 0 && i + dx >= line.first && i + dx < line.first + line.len) return i + dx;
  let best = { seat: i, far: Infinity };
  for (let other = 0; other < places.x.length; other++) {
    const [ax, ay] = [places.x[other] - places.x[i], places.y[other] - places.y[i]];
    const ahead = ax * dx + ay * dy;
    if (ahead < 0.4) continue;
    const aside = Math.abs(ax * dy) + Math.abs(ay * dx);
    if (aside > 1.5 * ahead + 0.5) continue;
    const far = ahead + 2 * aside;
    if (far < best.far) best = { seat: other, far };
  }
  return best.seat;
}

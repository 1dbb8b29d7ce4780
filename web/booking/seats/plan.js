// An event's seats as numbers: seat i is the i-th of `/plan`, by section, row, number.
//
// Owns what is where and how it stands. Knows no page and no place on a map.

export const AVAILABLE = 0;
export const HELD = 1;
export const SOLD = 2;
export const STATUSES = ["AVAILABLE", "HELD", "SOLD"];
/** The one row that places without rows are in. */
const NO_ROW = "0";

/** Two bits a seat, low ones first, as a byte a seat; `null` when there are not `count`. */
export function unpack(base64, count) {
  const packed = atob(base64);
  if (packed.length !== Math.ceil(count / 4)) return null;
  const statuses = new Uint8Array(count);
  for (let i = 0; i < count; i++) statuses[i] = (packed.charCodeAt(i >> 2) >> (2 * (i & 3))) & 3;
  return statuses;
}

/** A row: `numbers` only where they are not 1, 2, 3, …; `label` is "" for no row. */
function rowOf(row, section, first) {
  return {
    section, first, len: row.seats, code: row.row, numbers: row.numbers ?? null,
    label: section.rows.length === 0 && row.row === NO_ROW ? "" : row.row,
    accessible: new Set(row.accessible ?? []),
  };
}

/** The plan of an event from the answer of `/plan`. */
export class Plan {
  constructor(answer) {
    this.layout = answer.layout;
    this.version = answer.version;
    this.most = answer.max_seats;
    this.sections = [];
    this.rows = [];
    this.count = 0;
    this.named = new Map();
    answer.sections.forEach((section, at) => this.#add(section, at));
    this.rowAt = new Uint32Array(this.count);
    this.rows.forEach((row, at) => this.rowAt.fill(at, row.first, row.first + row.len));
    this.statuses = new Uint8Array(this.count);
    this.apply(unpack(answer.seats, this.count) ?? this.statuses);
  }

  #add({ id, name, kind, price, rows }, at) {
    const section = { at, id, name, kind, price, byCount: kind !== "seated", rows: [], first: this.count, len: 0, free: 0 };
    for (const each of rows) {
      const row = rowOf(each, section, this.count);
      section.rows.push(row);
      this.rows.push(row);
      this.named.set(`${id}-${row.code}`, row);
      this.count += row.len;
    }
    section.len = this.count - section.first;
    section.free = section.len;
    this.sections.push(section);
  }

  /** The row of seat `i`. */
  row(i) {
    return this.rows[this.rowAt[i]];
  }

  /** All of seat `i`, as it stands now. */
  seat(i) {
    const row = this.row(i);
    const number = row.numbers?.[i - row.first] ?? i - row.first + 1;
    return {
      i, number, row: row.label, section: row.section, price: row.section.price,
      id: `${row.section.id}-${row.code}-${number}`, status: this.statuses[i], accessible: row.accessible.has(number),
    };
  }

  /** The seat of that id, or -1. */
  indexOf(id) {
    const dash = id.lastIndexOf("-");
    const row = this.named.get(id.slice(0, dash));
    const number = Number(id.slice(dash + 1));
    if (!row || !Number.isInteger(number)) return -1;
    const at = row.numbers ? row.numbers.indexOf(number) : number - 1;
    return at >= 0 && at < row.len ? row.first + at : -1;
  }

  isAccessible(i) {
    const row = this.row(i);
    return row.accessible.size > 0 && this.seat(i).accessible;
  }

  /** Takes over one status; answers whether it is another than before. */
  set(i, status) {
    const old = this.statuses[i];
    if (old === status) return false;
    this.statuses[i] = status;
    this.row(i).section.free += (status === AVAILABLE) - (old === AVAILABLE);
    return true;
  }

  /** Takes over all statuses; answers the seats that changed. */
  apply(statuses) {
    const changed = [];
    for (let i = 0; i < this.count; i++) if (this.set(i, statuses[i])) changed.push(i);
    return changed;
  }

  get free() {
    return this.sections.reduce((sum, section) => sum + section.free, 0);
  }
}

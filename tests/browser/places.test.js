// The rules behind the seat map, without a browser: which seat is where, which
// is next, which is offered.
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

const rows = (count, seats) => Array.from({ length: count }, (_, at) => ({ row: String(at + 1), seats }));
const section = (id, name, price, rows, kind = "seated") => ({ id, name, kind, price, rows });
const SAMPLE = [
  section("A", "Floor A", 176_000, rows(10, 20)), section("B", "Floor B", 176_000, rows(10, 20)),
  section("C", "Lower ring left", 143_000, rows(12, 18)), section("D", "Lower ring centre", 154_000, rows(12, 26)),
  section("E", "Lower ring right", 143_000, rows(12, 18)), section("F", "Upper ring left", 99_000, rows(14, 18)),
  section("G", "Upper ring centre", 110_000, rows(14, 26)), section("H", "Upper ring right", 99_000, rows(12, 20)),
];
const HOUSES = {
  sample: SAMPLE,
  "50,000": Array.from({ length: 50 }, (_, at) => section(`S${at}`, `Block ${at}`, 1 + (at % 5), rows(20, 50))),
  "one seat": [section("A", "A", 1, rows(1, 1))],
  "a row without end": [section("A", "A", 1, rows(1, 5_000))],
  "rows that differ": [section("A", "A", 1, [3, 40, 7, 90, 1].map((seats, at) => ({ row: `R${at}`, seats })))],
  "many small": Array.from({ length: 300 }, (_, at) => section(`S${at}`, `S${at}`, at, rows(1, 1 + (at % 9)))),
  "odd numbers": [section("A", "A", 1, [{ row: "1", seats: 3, numbers: [1, 3, 5], accessible: [5] }]), section("L", "L", 2, [{ row: "0", seats: 10 }], "expandable")],
};

describe("the rules of the seat map", () => {
  let folder;
  let parts;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "usher-seats-"));
    cpSync(fileURLToPath(new URL("../../web/booking/seats", import.meta.url)), folder, { recursive: true });
    writeFileSync(join(folder, "package.json"), '{"type":"module"}');
    const load = (name) => import(pathToFileURL(join(folder, name)));
    parts = Object.assign({}, ...await Promise.all(["plan.js", "place.js", "nearest.js"].map(load)));
  });
  after(() => rmSync(folder, { recursive: true }));

  const planOf = (sections, taken = []) => {
    const plan = new parts.Plan({ layout: 1, version: 1, max_seats: 8, sections, seats: "" });
    taken.forEach((id) => plan.set(plan.indexOf(id), parts.SOLD));
    return plan;
  };
  const names = (plan, seats) => seats.map((i) => plan.seat(i).id);

  it("knows each seat by its id, and counts what is free", () => {
    for (const [name, sections] of Object.entries(HOUSES)) {
      const plan = planOf(sections);
      for (let i = 0; i < plan.count; i++) assert.equal(plan.indexOf(plan.seat(i).id), i, name);
      assert.equal(plan.free, plan.count);
      for (const id of ["", "A", "A-1", "A-1-", "A-1-0", "A-1-9999", "A-1-1.5", "Z-1-1"]) assert.equal(plan.indexOf(id), -1, id);
    }
    const plan = planOf(SAMPLE);
    // Seats 0 to 3: free, on hold, sold, free.
    const packed = Buffer.alloc(500);
    packed[0] = 0b00_10_01_00;
    assert.deepEqual(plan.apply(parts.unpack(packed.toString("base64"), plan.count)), [1, 2]);
    assert.deepEqual([plan.sections[0].free, plan.free], [198, 1_998]);
    assert.equal(parts.unpack(packed.toString("base64"), plan.count + 1), null, "another house");
    assert.equal(planOf(HOUSES["odd numbers"]).isAccessible(2), true);
  });

  it("gives each seat a place of its own, where it is found again", () => {
    for (const [name, sections] of Object.entries(HOUSES)) {
      const plan = planOf(sections);
      for (const ratio of [0.8, 1.3]) {
        const places = parts.place(plan, ratio);
        const near = new Map();
        for (const { first, len } of places.lines) {
          for (let i = first; i < first + len; i++) {
            const [x, y] = [places.x[i], places.y[i]];
            assert.equal(parts.whatIsAt(places, x, y).seat, i, `${name}: ${plan.seat(i).id}`);
            assert.ok(x > places.box.left && x < places.box.right && y > places.box.top && y < places.box.bottom, name);
            for (let cx = -1; cx <= 1; cx++) {
              for (let cy = -1; cy <= 1; cy++) {
                for (const other of near.get(`${Math.floor(x) + cx} ${Math.floor(y) + cy}`) ?? []) {
                  assert.ok(Math.hypot(places.x[other] - x, places.y[other] - y) > 0.9, `${name}: ${plan.seat(i).id} on ${plan.seat(other).id}`);
                }
              }
            }
            const cell = `${Math.floor(x)} ${Math.floor(y)}`;
            near.set(cell, [...(near.get(cell) ?? []), i]);
          }
        }
        assert.ok(places.blocks.every(({ section }, at) => section.at === at), "in the order of the list");
      }
    }
  });

  it("leads by arrows from any seat to every other", () => {
    for (const name of ["sample", "rows that differ", "many small"]) {
      const plan = planOf(HOUSES[name]);
      const places = parts.place(plan);
      const seen = new Set([0]);
      for (const i of seen) for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) seen.add(parts.neighbour(places, i, dx, dy));
      assert.equal(seen.size, plan.count, name);
    }
  });

  it("offers what is nearest, together if it can be, never dearer", () => {
    const offer = (sections, taken, wanted, may) => {
      const plan = planOf(sections, taken);
      return names(plan, parts.nearest(plan, parts.place(plan), wanted.map((id) => plan.indexOf(id)), may));
    };
    assert.deepEqual(offer(SAMPLE, ["A-5-10"], ["A-5-10"]).length, 1);
    assert.match(offer(SAMPLE, ["A-5-10"], ["A-5-10"])[0], /^A-(4|5|6)-(9|10|11)$/);
    assert.deepEqual(offer(SAMPLE, ["A-5-10", "A-4-10", "A-6-10"], ["A-5-9", "A-5-10"]), ["A-5-8", "A-5-9"]);
    const small = [section("A", "A", 2, rows(1, 4)), section("B", "B", 3, rows(1, 4)), section("C", "C", 1, rows(1, 4))];
    assert.match(offer(small, ["A-1-1", "A-1-3"], ["A-1-3", "A-1-4"]).join(), /^C-1-.,C-1-.$/, "together elsewhere before apart here");
    const full = ["A-1-1", "A-1-2", "A-1-3", "A-1-4", "C-1-2", "C-1-4"];
    assert.deepEqual(offer(small, full, ["A-1-1", "A-1-2"]), ["C-1-1", "C-1-3"], "apart, but not the dearer B");
    assert.deepEqual(offer(small, [...full, "C-1-1"], ["A-1-1", "A-1-2"]), [], "too few");
    assert.deepEqual(offer(small, ["A-1-1"], ["A-1-1"], () => false), [], "none for this buyer");
    assert.deepEqual(offer(small, [], []), []);
  });
});

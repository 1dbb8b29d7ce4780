// The house by other ways: a list, a phone, the best together, by number; sold out
// and not yet on sale.
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { SAMPLE, chosen, click, giveBack, holdFrom, house, rows, shot, spot } from "./house.js";
import { seriousFindings, until } from "./support.js";

describe("the house by other ways", () => {
  const { addEvent, fan, url } = house();

  it("is a list for who prefers one, with the same choice", async () => {
    const event = await addEvent([{ code: "A", name: "<b>Floor</b>", rows: rows(3, 10, [1, 2]) }, { code: "R", name: "قاعة 😀", rows: rows(2, 5) }]);
    const other = await fan(event);
    await holdFrom(other.page, ["A-1-3"]);
    const { page, faults, close } = await fan(event);
    await page.getByRole("button", { name: "List" }).click();
    await page.locator(".part summary", { hasText: "<b>Floor</b>" }).click();
    await page.locator(".line summary", { hasText: "Row 1" }).click();
    assert.equal(await page.getByRole("button", { name: "Seat 3, on hold by somebody" }).getAttribute("aria-disabled"), "true");
    await page.getByRole("button", { name: "Seat 4, free" }).click();
    assert.equal(await page.getByRole("button", { name: "Seat 4, your choice" }).getAttribute("aria-pressed"), "true");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
    assert.deepEqual(await chosen(page), ["<b>Floor</b>, row 1, seat 4", "<b>Floor</b>, row 1, seat 5"]);
    assert.equal(await page.locator("main b").count(), 0, "names are only text");
    await page.locator(".line summary", { hasText: "Row 3" }).click();
    await page.getByRole("button", { name: "Seat 1, free, wheelchair place" }).click();
    assert.match(await page.textContent("#alert"), /kept for people with wheelchairs/);
    assert.deepEqual(await seriousFindings(page), []);
    await holdFrom(other.page, ["A-1-8"]);
    await until("it is told here, too", async () => await page.locator(".seat[aria-label^='Seat 8, on hold']").count() === 1);
    await shot(page, "seats-list");
    await page.reload();
    await page.locator(".list").waitFor();
    await holdFrom(other.page, ["A-1-10"]);
    await until("the list follows without a map", async () => /7 left/.test(await page.textContent(".part summary")));
    assert.deepEqual(faults, []);
    await page.getByRole("button", { name: "Map" }).click();
    await page.locator(".map-stage").waitFor();
    await other.close();
    await close();
  });

  it("fills a phone: fingers zoom and choose, nothing runs over the edge", async () => {
    const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
    const { page, context, faults, close } = await fan(SAMPLE, phone);
    const narrow = async (when) => assert.ok(await page.evaluate(() => document.documentElement.scrollWidth) <= 390, when);
    await narrow("map");
    const map = await page.locator(".map-stage").boundingBox();
    assert.ok(map.height > 844 / 2, "the map is most of it");
    const middle = { x: map.x + map.width / 2, y: map.y + map.height / 2 };
    await page.touchscreen.tap(middle.x, middle.y);
    assert.deepEqual(await chosen(page), [], "the first tap looks closer");
    await page.waitForTimeout(400);
    await page.touchscreen.tap(middle.x, middle.y);
    await until("a seat", async () => (await chosen(page)).length === 1);
    // Two fingers apart.
    await page.getByRole("button", { name: "Show the whole house" }).tap();
    const cdp = await context.newCDPSession(page);
    const seat = await spot(page, "D-6-13");
    const fingers = (type, apart) => cdp.send("Input.dispatchTouchEvent", {
      type, touchPoints: type === "touchEnd" ? [] : [-apart, apart].map((dx, id) => ({ x: seat.x + dx, y: seat.y, id })),
    });
    await fingers("touchStart", 20);
    for (let apart = 20; apart <= 150; apart += 10) await fingers("touchMove", apart);
    await fingers("touchEnd");
    await page.waitForTimeout(400);
    await page.touchscreen.tap(seat.x, seat.y);
    await until("another", async () => (await chosen(page)).includes("Lower ring centre, row 6, seat 13"));
    await page.locator(".best summary").tap();
    await narrow("best seats");
    await page.locator(".best summary").tap();
    await page.getByRole("button", { name: "List" }).tap();
    await page.locator(".part summary").first().tap();
    await page.locator(".line summary").first().tap();
    for (let at = 10; at < 16; at++) await page.locator(".line .seat").nth(at).tap();
    await narrow("list");
    assert.deepEqual(await seriousFindings(page), []);
    await page.getByRole("button", { name: "Map" }).tap();
    await narrow("many seats");
    await shot(page, "seats-phone");
    assert.deepEqual(faults, []);
    await close();
  });

  it("finds the best together and says how they lie; sells standing places by number", async () => {
    const event = await addEvent([
      { code: "A", name: "Floor", rows: rows(2, 6) }, { code: "S", name: "Standing", kind: "standing", capacity: 20, price: 40_000 },
    ]);
    const { page, close } = await fan(event);
    await page.selectOption("#best-count", "3");
    await page.selectOption("#best-part", "A");
    await page.getByRole("button", { name: "Find 3 together" }).click();
    await page.locator("#door .button").first().click();
    await page.waitForURL(/\/checkout\//, { timeout: 60_000 });
    await until("it says so", async () => /3 seats are side by side/.test(await page.textContent("#alert")));
    await page.goto(url(`/events/${event}`));
    await page.locator(".map-stage").waitFor();
    await click(page, "S");
    await page.selectOption("#count-of", "4");
    assert.match(await page.textContent(".sheet"), /₩160,000/);
    assert.deepEqual(await seriousFindings(page), []);
    await page.locator(".sheet .button").click();
    await page.waitForURL(/\/checkout\//, { timeout: 60_000 });
    await close();
  });

  it("says that it is sold out, and when seats come back; holds nothing before the sale opens", async () => {
    const full = await addEvent([{ code: "A", name: "Floor", rows: rows(1, 4) }]);
    const { page, close } = await fan(full);
    const hold = await holdFrom(page, ["A-1-1", "A-1-2", "A-1-3", "A-1-4"]);
    await until("sold out", async () => /^Sold out/.test(await page.textContent(".news")));
    assert.equal(await page.isDisabled(".best-form .button"), true);
    await giveBack(page, hold);
    await until("free again", async () => !await page.isVisible(".news") && !await page.isDisabled(".best-form .button"));
    await close();
    const later = await addEvent([{ code: "A", name: "Floor", rows: rows(1, 4) }], { sale_opens_at: Date.now() + 3_600_000 });
    const early = await fan(later, {}, (page) => page.clock.install());
    assert.match(await early.page.textContent(".news"), /^Sale opens/);
    await click(early.page, "A-1-2");
    assert.equal(await early.page.isDisabled(".chosen .button"), true);
    await early.page.clock.fastForward("01:00:05");
    await until("open", async () => !await early.page.isDisabled(".chosen .button"));
    assert.equal(await early.page.isVisible(".news"), false);
    await early.close();
  });
});

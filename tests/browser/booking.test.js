// The hall in a real browser: two fans, one seat, and a map that says so by itself.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { launch, startDemo, until } from "./support.js";

describe("the hall", () => {
  let demo;
  let browser;

  before(async () => {
    demo = await startDemo();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await demo?.stop();
  });

  /** A fan who stands in the hall, with a section open. */
  async function fan(options = {}, given = null) {
    const context = given ?? await browser.newContext({ locale: "en-GB", ...options });
    const page = await context.newPage();
    const sockets = [];
    const asked = [];
    page.on("websocket", (socket) => sockets.push(socket));
    page.on("request", (request) => request.url().endsWith("/plan") && asked.push(request.url()));
    await page.goto(demo.url);
    await page.locator("a.button[href^='/events/']").first().click({ timeout: 60_000 });
    await page.getByRole("button", { name: "List" }).click({ timeout: 60_000 });
    await page.locator(".part summary").first().click();
    await page.locator(".line summary").first().click();
    await page.locator(".seat[aria-disabled=false]").first().waitFor({ timeout: 60_000 });
    return { context, page, sockets, asked };
  }

  const label = (page, name) => page.locator(`.line .seat[aria-label^="${name},"]`);
  const heard = (page) => until("the live map", async () => /\d/.test(await page.textContent("#looking")));

  it("shows another's hold without being asked, and sells the seat once", async () => {
    const [one, two] = [await fan(), await fan({ viewport: { width: 390, height: 844 } })];
    await Promise.all([heard(one.page), heard(two.page)]);
    assert.equal(two.sockets.length, 1);
    const seat = (await two.page.locator(".line .seat[data-status=AVAILABLE]").first().getAttribute("aria-label"))
      .replace(/, [^,]*$/, "");
    const before = two.asked.length;

    await label(two.page, seat).click();
    assert.equal(await label(two.page, seat).getAttribute("data-status"), "MINE");
    await label(one.page, seat).click();
    await one.page.locator(".chosen .button").click();
    await one.page.locator("#door .button").first().click();

    await until("the other's hold", async () => await label(two.page, seat).getAttribute("data-status") === "HELD");
    assert.match(await two.page.textContent(".offer"), /faster/);
    assert.equal(two.asked.length, before, "nobody asked for the list");

    await one.page.getByRole("button", { name: /^Pay/ }).click({ timeout: 60_000 });
    await until("the sale", async () => await label(two.page, seat).getAttribute("data-status") === "SOLD");
    await one.context.close();
    await two.context.close();
  });

  it("comes back after its connection was lost", async () => {
    const context = await browser.newContext({ locale: "en-GB" });
    const wires = [];
    await context.routeWebSocket(/\/live$/, (wire) => {
      wires.push(wire);
      if (wires.length !== 2) wire.connectToServer();
      else wire.close({ code: 1001 });
    });
    const { page } = await fan({}, context);
    await heard(page);
    await wires[0].close({ code: 1001 });
    await until("a third connection", async () => wires.length === 3);
    await page.evaluate(() => (document.querySelector("#looking").textContent = ""));
    const other = await fan();
    await heard(page);
    await other.context.close();
    await context.close();
  });

  it("says in five languages that it needs script", async () => {
    const context = await browser.newContext({ javaScriptEnabled: false });
    const page = await context.newPage();
    await until("the hall's page", async () => {
      await page.goto(demo.url);
      return await page.locator("section[lang=en]").count() === 1;
    });
    for (const tag of ["en", "ko", "ja", "zh", "es"]) assert.equal(await page.locator(`section[lang=${tag}]`).count(), 1, tag);
    await context.close();
  });

  it("speaks the language that was chosen in the line", async () => {
    const context = await browser.newContext({ locale: "en-GB" });
    await context.addCookies([{ name: "usher_language", value: "ko", url: demo.url }]);
    const page = await context.newPage();
    await page.goto(demo.url);
    await page.locator("a.button[href^='/events/']").first().waitFor({ timeout: 60_000 });
    assert.equal(await page.getAttribute("html", "lang"), "ko");
    await context.close();
  });
});

// The operators' page: figures that live, acts that are asked about first.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { crowd, launch, seriousFindings, startDemo, until } from "./support.js";

describe("the dashboard", () => {
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

  it("follows the line, and steers it when it is meant", async () => {
    const page = await (await browser.newContext({ locale: "en-GB" })).newPage();
    const complaints = [];
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    await page.goto(demo.admin);
    const at = (name) => page.textContent(`[data-at=${name}]`);
    await until("the room", async () => await at("name") === "main" && await at("state") === "open");
    for (const colorScheme of ["dark", "light"]) {
      await page.emulateMedia({ colorScheme });
      assert.deepEqual(await seriousFindings(page), [], colorScheme);
    }
    await page.click("[data-act=pause]");
    assert.deepEqual(await seriousFindings(page), [], "the question");
    assert.match(await page.textContent("#question"), /Pause main/);
    await page.click("dialog [value=no]");
    assert.equal((await demo.room()).state, "open", "nothing is done that was not meant");
    await page.click("[data-act=pause]");
    await page.click("#yes");
    await until("paused", async () => await at("state") === "paused");
    await crowd(demo.url, 3);
    await until("three wait", async () => await at("waiting") === "3");
    assert.match(await page.title(), /^3 waiting/);
    await page.fill("[name=capacity]", "77");
    await page.fill("[name=message]", "<b>Doors at ten</b>");
    await page.click(".limits button:not([type])");
    await page.click("#yes");
    await until("changed", async () => (await demo.room()).capacity === 77);
    await until("the audit tells it", async () => /capacity \d+.*→ capacity 77/.test(await page.textContent("#audit")));
    assert.equal(await page.locator("#audit b").count(), 0, "words are only text");
    await page.click("[data-act=clear]");
    assert.equal(await page.isDisabled("#yes"), true, "the name has to be typed");
    await page.fill("#name", "main");
    await page.click("#yes");
    await until("the line is new", async () => await at("waiting") === "0");
    if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/dashboard.png`, fullPage: true });
    assert.deepEqual(complaints, []);
    await page.context().close();
  });

  it("asks for the token, keeps it in the tab, and says when the gate is gone", async () => {
    const locked = await startDemo({ USHER__ADMIN__TOKEN: "s3cret-token" }, "s3cret-token");
    const page = await (await browser.newContext()).newPage();
    await page.goto(locked.admin);
    await page.fill("#token", "wrong");
    await page.click("#door button");
    await until("refused", async () => /not the token/.test(await page.textContent("#refused")));
    await page.fill("#token", "s3cret-token");
    await page.click("#door button");
    await until("figures", () => page.isVisible("article"));
    await page.reload();
    await until("figures again", () => page.isVisible("article"));
    await locked.stop();
    await until("it says so", async () => /figures are old/.test(await page.textContent("#live")));
    await page.context().close();
  });
});

// A place goes to another device: two browsers, one link.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { crowd, launch, number, seriousFindings, startDemo, until } from "./support.js";

const POSITION = "[data-at=position]";
const LINK = "a[href^='/queue/move']";

describe("a place that moves", () => {
  let demo;
  let browser;

  before(async () => {
    demo = await startDemo();
    browser = await launch();
    await demo.pause();
  });
  after(async () => {
    await browser?.close();
    await demo?.stop();
  });

  async function device(options = {}) {
    const context = await browser.newContext({ locale: "en-GB", ...options });
    const page = await context.newPage();
    page.asked = [];
    page.on("request", (request) => page.asked.push(request.url()));
    return page;
  }

  /** Stands in line; its place. */
  async function stand(page) {
    await page.goto(demo.url);
    return until("a place", async () => number(await page.textContent(POSITION)));
  }

  /** The address that the first device shows, as text and as a picture. */
  async function shown(page) {
    await page.click(LINK);
    await until("the picture", () => page.isVisible(".give svg"));
    return page.getAttribute(".give a", "href");
  }

  it("is shown as a picture, taken by a click, and gone where it was", async () => {
    await crowd(demo.url, 2);
    const old = await device();
    const place = await stand(old);
    const link = await shown(old);
    assert.ok(link.startsWith(`${demo.url}/queue/move#`), link);
    assert.deepEqual(await seriousFindings(old), []);

    const phone = await device({ viewport: { width: 390, height: 844 } });
    await phone.goto(link);
    await until("the question", async () => await phone.textContent("h1") === "Take the place here?");
    assert.equal(new URL(phone.url()).hash, "", "the address does not keep it");
    const wide = await phone.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
    assert.equal(wide, false, "it fits");
    assert.deepEqual(await seriousFindings(phone), []);
    assert.equal(await old.isVisible(".give svg"), true, "looking takes nothing");
    await phone.click("form .button");
    await until("the same place", async () => number(await phone.textContent(POSITION)) === place);
    const token = new URL(link).hash.slice(1);
    assert.ok([...old.asked, ...phone.asked].every((url) => url === link || !url.includes(token)), "in no address asked");

    await until("it is said", async () => await old.textContent("h1") === "Your place moved to another device");
    assert.equal(await old.locator(".give").count(), 0);
    await old.click(".way");
    await until("the tail", async () => number(await old.textContent(POSITION)) > place);

    const late = await device();
    await late.goto(link);
    await late.click("form .button");
    await until("a kind no", async () => await late.textContent("h1") === "That place is not there any more");
    for (const page of [old, phone, late]) await page.context().close();
  });

  it("says on the waiting page that the place is elsewhere", async () => {
    const old = await device();
    const place = await stand(old);
    const other = await old.context().newPage();
    await other.goto(`${demo.url}/queue/move`);
    const link = await other.getAttribute(".give a", "href");
    await other.close();
    const phone = await device();
    await stand(phone);
    await phone.goto(link);
    await until("a warning", () => phone.isVisible(".note"));
    await phone.click("form .button");
    await until("the same place", async () => number(await phone.textContent(POSITION)) === place);
    await until("it is said", async () => await old.textContent("h1") === "Your place moved to another device");
    await old.click("header .button");
    await until("the tail", async () => number(await old.textContent(POSITION)) > place);
    for (const page of [old, phone]) await page.context().close();
  });

  it("works without script: the link is pasted", async () => {
    const old = await device({ javaScriptEnabled: false });
    const place = await stand(old);
    const link = await shown(old);
    const phone = await device({ javaScriptEnabled: false });
    await phone.goto(link);
    await phone.fill("[name=token]", link);
    await phone.click("form .button");
    await until("the same place", async () => number(await phone.textContent(POSITION)) === place);
    await old.goto(demo.url);
    assert.equal(await old.textContent("h1"), "Your place moved to another device");
    for (const page of [old, phone]) await page.context().close();
  });
});

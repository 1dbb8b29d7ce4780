// A fan's way: any page, the line, and in.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { crowd, launch, number, seriousFindings, startDemo, until } from "./support.js";

const POSITION = "[data-at=position]";

describe("the waiting page", () => {
  let demo;
  let browser;

  before(async () => {
    demo = await startDemo({ USHER__ROOM__MAIN__BATCH: "2" });
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await demo?.stop();
  });

  async function fan(options = {}) {
    const context = await browser.newContext({ locale: "en-GB", ...options });
    const page = await context.newPage();
    const outside = [];
    page.on("request", (request) => {
      if (!request.url().startsWith(demo.url) && !request.url().startsWith("data:")) outside.push(request.url());
    });
    return { context, page, outside };
  }

  it("shows a place that moves, then goes where the fan wanted to go", async () => {
    await demo.pause();
    await crowd(demo.url, 6);
    const { context, page, outside } = await fan();
    await page.goto(`${demo.url}/?from=mail`);
    await until("a place", async () => number(await page.textContent(POSITION)) === 7);
    assert.match(await page.title(), /7/);
    assert.match(await page.textContent("h1"), /in line|almost there/);
    assert.equal(await page.isVisible(POSITION), true);
    await demo.resume();
    const seen = [7];
    await until("the sale", async () => {
      if (await page.locator(POSITION).count() === 0) return true;
      const now = number(await page.textContent(POSITION).catch(() => ""));
      if (now !== null && now !== seen.at(-1)) seen.push(now);
      return false;
    });
    assert.deepEqual(seen, [...seen].sort((a, b) => b - a), "a position never grows");
    assert.equal(new URL(page.url()).search, "?from=mail");
    assert.equal(await page.locator(POSITION).count(), 0);
    assert.deepEqual(outside, [], "nothing is loaded from elsewhere");
    await context.close();
  });

  it("keeps the place of a tab that was closed and opened again", async () => {
    await demo.pause();
    await crowd(demo.url, 1);
    const { context, page } = await fan();
    await page.goto(demo.url);
    const place = await until("a place", async () => number(await page.textContent(POSITION)));
    await page.close();
    await crowd(demo.url, 3);
    const again = await context.newPage();
    await again.goto(demo.url);
    await until("the same place", async () => number(await again.textContent(POSITION)) === place);
    await context.close();
  });

  it("works without script", async () => {
    await demo.pause();
    const { context, page } = await fan({ javaScriptEnabled: false });
    await page.goto(demo.url);
    await until("a place by reloading", async () => number(await page.textContent(POSITION)) > 0);
    await demo.resume();
    await until("in by reloading", async () => await page.locator(POSITION).count() === 0);
    await context.close();
  });

  it("speaks the browser's language and fits a phone, light and dark", async () => {
    await demo.pause();
    for (const [locale, colorScheme] of [["ko-KR", "light"], ["ja-JP", "dark"], ["zh-CN", "light"], ["es-ES", "dark"]]) {
      const { context, page } = await fan({ locale, colorScheme, viewport: { width: 390, height: 844 } });
      await page.goto(demo.url);
      await until("a place", async () => number(await page.textContent(POSITION)));
      assert.equal(await page.getAttribute("html", "lang"), locale.slice(0, 2));
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
      assert.equal(wide, false, `${locale} fits`);
      assert.equal(await page.locator("[role=status]").count(), 1);
      assert.deepEqual(await seriousFindings(page), [], locale);
      await context.close();
    }
  });

  it("is one response under 15 KB and runs under a strict policy", async () => {
    await demo.pause();
    const { context, page } = await fan();
    const complaints = [];
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    const response = await page.goto(demo.url);
    assert.ok((await response.body()).length < 15_000);
    assert.match(response.headers()["content-security-policy"], /default-src 'none'/);
    await until("a place", async () => number(await page.textContent(POSITION)));
    assert.deepEqual(complaints, []);
    await context.close();
  });

  it("carries the place in title and icon, and shows what the app says", async () => {
    await demo.pause();
    await crowd(demo.url, 2);
    const { context, page } = await fan();
    await page.goto(demo.url);
    const place = await until("a place", async () => number(await page.textContent(POSITION)));
    await until("the title has it", async () => number(await page.title()) === place);
    const icon = () => page.getAttribute("[rel=icon]", "href");
    await until("an icon is painted", async () => (await icon()).startsWith("data:image/png"));
    // `sold-out` is the app's word; over the admin API only closing is.
    await demo.close();
    await until("closed is paused for those in line", () => page.isVisible("[data-note=paused]"));
    await demo.open();
    await demo.pause();
    await page.click("[data-act=ring]");
    assert.match(await page.textContent("[data-act=ring]"), /it will ring/);
    await context.close();
  });

  it("changes its language on the page, with and without script", async () => {
    await demo.pause();
    for (const javaScriptEnabled of [true, false]) {
      const { context, page } = await fan({ javaScriptEnabled });
      await page.goto(`${demo.url}/?from=mail`);
      await page.click("button[lang=ko]");
      await until("Korean", async () => await page.getAttribute("html", "lang") === "ko");
      assert.equal(new URL(page.url()).search, "?from=mail");
      await context.close();
    }
  });

  it("asks anew after a sleep that ate its question, and says when it is offline", async () => {
    await demo.pause();
    const { context, page } = await fan();
    await page.goto(demo.url);
    await until("a place", async () => number(await page.textContent(POSITION)));
    let asked = 0;
    let swallow = true;
    await page.route("**/queue/status*", (route) => {
      asked += 1;
      if (!swallow) return route.continue();
      // Never answered, as by a network that is gone.
    });
    await until("a question hangs", async () => asked === 1);
    await page.evaluate(() => { const real = Date.now; Date.now = () => real() + 5_000; });
    swallow = false;
    await page.evaluate(() => dispatchEvent(new Event("pageshow")));
    await until("another is asked at once", async () => asked === 2);
    await context.setOffline(true);
    await until("it says so", () => page.isVisible("[data-note=offline]"));
    await context.setOffline(false);
    await until("and takes it back", async () => !await page.isVisible("[data-note=offline]"));
    await context.close();
  });

  it("says why a place is gone, and takes a new one only when asked", async () => {
    await demo.pause();
    const { context, page } = await fan();
    await page.goto(demo.url);
    await until("a place", async () => number(await page.textContent(POSITION)));
    const mine = async () => (await fetch("/queue/join", { method: "POST" })).json();
    const { number: place } = await page.evaluate(mine);
    await demo.remove(place);
    await until("it is said", async () => /was ended/.test(await page.textContent("h1")));
    assert.equal(await page.isVisible(POSITION), false);
    assert.deepEqual(await seriousFindings(page), []);
    await page.evaluate(() => document.querySelector("main").append(new Image()));
    assert.match((await seriousFindings(page)).join(), /image-alt/, "a planted fault is found");
    await page.click("header a");
    await until("a new place", () => page.isVisible(POSITION));
    assert.ok((await page.evaluate(mine)).number > place);
    await context.close();
  });
});

// A fan's way from the line to tickets, on every page of the booking office.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { launch, number, overflows, seriousFindings, startDemo, until } from "./support.js";

const PHONE = { width: 390, height: 844 };
const BOSS = { email: "boss@example.org", password: "the boss's pass phrase" };
const RUN = { timeout: 60_000 };

describe("the booking pages", () => {
  let demo;
  let browser;

  before(async () => {
    demo = await startDemo({
      USHER__BOOKING__ADMIN__EMAIL: BOSS.email,
      USHER__BOOKING__ADMIN__PASSWORD: BOSS.password,
    });
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await demo?.stop();
  });

  /** A fan before the list of what is on sale; `faults` gathers what scripts complain about. */
  async function fan({ at = demo, ...options } = {}) {
    const context = await browser.newContext({ locale: "en-GB", timezoneId: "Asia/Seoul", ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    const faults = [];
    page.on("pageerror", (error) => faults.push(error.message));
    page.on("console", (message) => /Content.Security/.test(message.text()) && faults.push(message.text()));
    await page.goto(at.url);
    await page.locator("main a.button").first().waitFor(RUN);
    return { context, page, faults };
  }

  /** That this page is fit for everybody. */
  async function fit(page, what) {
    assert.deepEqual(await seriousFindings(page), [], what);
    assert.equal(await overflows(page), false, `${what} fits`);
    assert.equal(await page.locator("h1").count(), 1, `${what} has one heading`);
    assert.match(await page.title(), /·|^Tickets$/, what);
  }

  /** From the list to two seats on hold, as a guest. */
  async function hold(page) {
    await page.locator("a.button[href^='/events/']").first().click();
    const best = page.locator("details.best");
    await best.waitFor(RUN);
    if (await best.getAttribute("open") === null) await best.locator("summary").click();
    await best.locator(".button").click();
    const door = page.locator("#door .button").first();
    await Promise.race([door.waitFor(RUN), page.locator(".countdown").waitFor(RUN)]);
    if (await door.isVisible()) await door.click();
    await page.locator(".countdown").waitFor(RUN);
  }

  const pay = (page) => page.locator("form.card .button.wide");
  const tickets = (page) => page.locator(".ticket img.qr");
  const at = (page) => new URL(page.url()).pathname;

  it("sells by points on a phone, and takes a part back", async () => {
    const { context, page, faults } = await fan({ viewport: PHONE });
    await fit(page, "what is on sale");
    await hold(page);
    await fit(page, "the checkout");
    assert.match(await page.title(), /^[67]:\d\d · /, "the title carries the clock");
    assert.equal(await page.evaluate(() => document.activeElement.tagName), "H1");
    await page.goto(demo.url);
    await until("it is not forgotten on another page", () => page.isVisible("#kept"));
    await fit(page, "the reminder");
    await page.locator("#kept a").click();
    await pay(page).click();
    await tickets(page).nth(1).waitFor(RUN);
    assert.match(await page.textContent("#alert"), /Enjoy/);
    await fit(page, "the order");
    await page.locator("details.card summary").click();
    await page.locator("details.card input").first().uncheck();
    assert.match(await page.textContent("details.card"), /whole price.*points/s);
    await fit(page, "giving back");
    await page.getByRole("button", { name: "Give 1 ticket back" }).click();
    await page.locator("#door[open]").waitFor();
    await fit(page, "the question");
    await page.locator("#door .button").first().click();
    await page.locator(".badge[data-status=PARTIALLY_REFUNDED]").waitFor(RUN);
    assert.equal(await page.locator(".ticket").count(), 1);
    for (const path of ["/orders", "/tickets", "/account"]) {
      await page.goto(demo.url + path);
      await page.locator("main .card").first().waitFor(RUN);
      await fit(page, path);
    }
    assert.deepEqual(faults, []);
    await context.close();
  });

  it("sells by card in the provider's window, and offers the same again when the card was refused", async () => {
    const { context, page, faults } = await fan({ colorScheme: "dark" });
    await hold(page);
    const window = async (decision) => {
      await page.locator("input[value=card]").check();
      await pay(page).click();
      await page.locator(`button[value=${decision}]`).click(RUN);
    };
    const seats = async () => (await page.locator(".items .seat-name").allTextContents()).join();
    const wanted = await seats();
    await window("leave");
    await page.locator(".countdown").waitFor(RUN);
    assert.match(await page.textContent("#alert"), /Nothing was charged/);
    await window("decline");
    await until("it says so", async () => /refused/.test(await page.textContent(".notice")));
    await fit(page, "a refusal");
    await page.locator(".notice .button").first().click();
    await page.locator(".countdown").waitFor(RUN);
    assert.equal(await seats(), wanted, "the same seats");
    await window("approve");
    await tickets(page).nth(1).waitFor(RUN);
    assert.match(await page.textContent("main"), /Paid by card/);
    await page.reload();
    await tickets(page).nth(1).waitFor(RUN);
    assert.deepEqual(faults, []);
    await context.close();
  });

  it("waits out a slow card company, says so, and goes on after a reload", async () => {
    const { context, page } = await fan();
    await hold(page);
    const { items } = await page.evaluate(async () => (await fetch("/api/payments/methods")).json());
    const bank = new URL(items.find((one) => one.method === "card").window).origin;
    const slow = await fetch(`${bank}/stand-in/faults`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ on: "confirm", times: 1, after: true, delayMs: 11_000 }),
    });
    assert.ok(slow.ok);
    await page.locator("input[value=card]").check();
    await pay(page).click();
    await page.locator("button[value=approve]").click(RUN);
    await page.locator(".spinner").waitFor(RUN);
    await page.reload();
    await page.locator(".spinner").waitFor(RUN);
    await fit(page, "a payment under way");
    assert.match(await page.title(), /^Paying/);
    await until("it says that it takes long", async () => /not be charged twice/.test(await page.textContent(".notice")));
    await fit(page, "a payment in doubt");
    await tickets(page).nth(1).waitFor(RUN);
    await context.close();
  });

  it("pays once when the network goes in the middle, and says that it is gone", async () => {
    const { context, page } = await fan();
    await hold(page);
    const keys = [];
    await page.route("**/api/payments", async (route) => {
      keys.push(route.request().headers()["idempotency-key"]);
      if (keys.length > 1) return route.continue();
      // The office takes it, the answer is lost.
      await route.fetch();
      await context.setOffline(true);
      await route.abort();
    });
    await pay(page).click();
    await until("it says so", () => page.isVisible("#offline"));
    await fit(page, "a lost connection");
    await context.setOffline(false);
    await tickets(page).nth(1).waitFor(RUN);
    assert.equal(await page.isVisible("#offline"), false);
    assert.equal(new Set(keys).size, 1);
    await page.goto(`${demo.url}/orders`);
    await page.locator("article").first().waitFor(RUN);
    assert.equal(await page.locator("article").count(), 1, "one order");
    await page.goto(`${demo.url}/account`);
    const paid = number(await page.locator(".amount").textContent(RUN));
    assert.ok(paid < 1_000_000 && paid >= 1_000_000 - 2 * 176_000, `paid once: ${paid}`);
    await context.close();
  });

  it("sells to somebody with a keyboard only", async () => {
    const { context, page } = await fan({ reducedMotion: "reduce" });
    const tabTo = async (selector) => {
      for (let i = 0; i < 40; i++) {
        await page.keyboard.press("Tab");
        if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) return;
      }
      assert.fail(`no way to ${selector}`);
    };
    await tabTo("a.button[href^='/events/']");
    await page.keyboard.press("Enter");
    await page.locator(".best-form").waitFor(RUN);
    await tabTo(".best-form .button");
    await page.keyboard.press("Enter");
    await page.locator("#door[open]").waitFor(RUN);
    await page.keyboard.press("Escape");
    await page.keyboard.press("Enter");
    await page.locator("#door[open]").waitFor(RUN);
    if (!await page.evaluate(() => document.activeElement.matches("#door .button"))) await tabTo("#door .button");
    await page.keyboard.press("Enter");
    await page.locator(".countdown").waitFor(RUN);
    await tabTo("form.card .button.wide");
    await page.keyboard.press("Enter");
    await tickets(page).nth(1).waitFor(RUN);
    await context.close();
  });

  it("speaks Korean with its money and times, and changes to Japanese at once", async () => {
    const { context, page } = await fan({ locale: "ko-KR", viewport: PHONE });
    assert.equal(await page.getAttribute("html", "lang"), "ko");
    assert.match(await page.textContent("main"), /예매 중.*오후 7:30.*₩99,000 – ₩176,000.*2,000석|예매 중.*오후 7:30.*₩99,000 – ₩176,000.*1,9\d\d석/s);
    await hold(page);
    assert.match(await page.textContent("main"), /남은 시간.*합계.*₩/s);
    await page.selectOption("#language", "ja");
    await until("Japanese", async () => /残り時間.*合計/s.test(await page.textContent("main")));
    assert.equal(await page.textContent("#home"), "チケット");
    await fit(page, "the checkout in Japanese");
    await page.reload();
    await page.locator(".countdown").waitFor(RUN);
    assert.equal(await page.getAttribute("html", "lang"), "ja");
    for (const tag of ["zh", "es", "en"]) {
      await page.selectOption("#language", tag);
      await until(tag, async () => await page.getAttribute("html", "lang") === tag && page.isVisible(".countdown"));
      assert.equal(await overflows(page), false, `the checkout fits in ${tag}`);
    }
    await page.getByRole("button", { name: "Do without them" }).click();
    await page.locator("details.best").waitFor(RUN);
    await context.close();
  });

  it("signs people up and in, kindly, and shows any name as text", async () => {
    const { context, page } = await fan({ viewport: PHONE });
    const name = "<b>김</b> مرحبا 🎫";
    const email = "someone@example.org";
    await page.locator("#who").click();
    await page.locator("main details").first().waitFor(RUN);
    await fit(page, "signing in");
    const fill = async (which, values) => {
      const form = page.locator("main details").nth(which);
      if (await form.getAttribute("open") === null) await form.locator("summary").click();
      for (const [field, value] of Object.entries(values)) await form.locator(`[name=${field}]`).fill(value);
      await form.locator(".button").click();
    };
    const refused = (words) => until(words, async () => words.test(await page.textContent(".refused")));
    await fill(1, { name, email: "someone", password: "a pass phrase" });
    await refused(/check the email/);
    assert.equal(await page.evaluate(() => document.activeElement.name), "email");
    await fill(1, { name, email, password: "short" });
    await refused(/at least 8/);
    await fill(1, { name, email, password: "a pass phrase" });
    await page.locator(".amount").waitFor(RUN);
    assert.equal(await page.textContent("main h2 >> nth=0"), name);
    assert.equal(await page.locator("main b, header b").count(), 0);
    await page.locator(".actions .button", { hasText: "500,000" }).click();
    await until("charged", async () => number(await page.textContent(".amount")) === 500_000);
    await page.fill("#amount", "nothing");
    await page.getByRole("button", { name: "Charge", exact: true }).click();
    await refused(/at least 1/);
    await fit(page, "the account");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.locator("main details").first().waitFor(RUN);
    await fill(0, { email, password: "not the pass phrase" });
    await refused(/do not match/);
    await fill(1, { name, email, password: "a pass phrase" });
    await refused(/already has an account/);
    await fill(0, { email, password: "a pass phrase" });
    await until("in again", async () => number(await page.textContent(".amount")) === 500_000);
    await context.close();
  });

  it("sells tickets without seats, for nothing too, until there are none", async () => {
    const call = async (path, body, token = "") => (await fetch(demo.office + path, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
    })).json();
    const { access_token: token } = await call("/api/sessions", BOSS);
    const offer = (title, quantity, price) => call("/api/tickets", { title, quantity, price, event_time: Date.now() + 86_400_000 }, token);
    const [picnic, rehearsal] = [await offer("Picnic <i>by</i> the river", 50, 15_000), await offer("Open rehearsal", 2, 0)];
    const { context, page } = await fan({ viewport: PHONE });
    assert.equal(await page.locator("main i").count(), 0, "a title is text");
    await fit(page, "offers");
    await page.locator(`a[href='/admission/${picnic.id}']`).click();
    await page.selectOption("#count", "3");
    assert.match(await page.textContent("main"), /₩45,000/);
    await fit(page, "an offer");
    await page.getByRole("button", { name: "Take 3 tickets" }).click();
    await page.locator("#door .button").first().click(RUN);
    await page.locator(".countdown").waitFor(RUN);
    await pay(page).click();
    await tickets(page).nth(2).waitFor(RUN);

    const other = await fan();
    // It has not heard of the sale yet when it asks for a ticket.
    const news = `**/api/tickets/${rehearsal.id}`;
    await other.page.route(news, (route) => route.fulfill({ json: rehearsal }));
    await other.page.goto(`${demo.url}/admission/${rehearsal.id}`);
    await other.page.locator("#count").waitFor(RUN);
    await page.goto(demo.url);
    await page.locator(`a[href='/admission/${rehearsal.id}']`).click(RUN);
    await page.selectOption("#count", "2");
    await page.getByRole("button", { name: "Take 2 tickets" }).click();
    await tickets(page).nth(1).waitFor(RUN);
    assert.match(at(page), /^\/orders\//, "nothing to pay");
    await other.page.getByRole("button", { name: "Take 1 ticket" }).click();
    await other.page.locator("#door .button").first().waitFor(RUN);
    await other.page.unroute(news);
    const refusal = other.page.waitForResponse(/reservations$/);
    await other.page.locator("#door .button").first().click(RUN);
    assert.equal((await refusal).status(), 409);
    await until("the other hears of it", async () => /Sold out/.test(await other.page.textContent("main")));
    await fit(other.page, "sold out");
    await context.close();
    await other.context.close();
  });

  it("lets a hold end kindly, after all the time it may have, and offers the same seats again", async () => {
    const short = await startDemo({ USHER__BOOKING__HOLD_TTL: "9s", USHER__BOOKING__HOLD_MAX: "14s" });
    try {
      const { context, page } = await fan({ at: short, viewport: PHONE });
      await hold(page);
      await until("the warning", async () => /Do you need more time/.test(await page.textContent(".warning")));
      const seats = async () => (await page.locator(".items .seat-name").allTextContents()).join();
      const wanted = await seats();
      const more = page.getByRole("button", { name: "More time" });
      const warning = () => page.textContent(".warning");
      await until("there is no more time than the longest", async () => {
        if (await more.isVisible()) await more.click({ timeout: 1_000 });
        return /^Less than twenty seconds left\.$/.test(await warning());
      });
      assert.equal(await more.isVisible(), false);
      await fit(page, "a hold near its end");
      await until("the end", async () => /ran out/.test(await page.textContent("h1")));
      await fit(page, "a hold that ended");
      assert.doesNotMatch(await page.title(), /\d:\d\d/, "no clock runs on");
      await until("the office knows too", async () => {
        if (await page.locator(".countdown").isVisible()) return true;
        await page.getByRole("button", { name: "Take the same again" }).click({ timeout: 1_000 });
        return false;
      });
      assert.equal(await seats(), wanted);
      await context.close();
    } finally {
      await short.stop();
    }
  });

  it("does not put somebody who pays back in line", async () => {
    const { context, page } = await fan();
    await hold(page);
    const order = at(page);
    await context.clearCookies();
    for (const path of [order, "/orders", "/tickets", "/account"]) {
      await page.goto(demo.url + path);
      await page.locator("main h1").waitFor(RUN);
      assert.equal(await page.locator("#language").count(), 1, `${path} is ours, not the line's`);
      assert.equal(await page.locator(".notice").count(), 0, path);
    }
    const asked = async (path) => page.evaluate(async (path) => (await fetch(path, { method: "POST" })).status, path);
    assert.equal(await asked("/api/events/winter-night-live/holds"), 429, "seats are for those whose turn it is");
    await page.locator("#home").click();
    await until("the visit is over", async () => /Your visit/.test(await page.textContent("h1")));
    await fit(page, "a visit that is over");
    await context.close();
  });
});

// A fan asks for help and a counsellor answers, each at a page of their own.
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { house, shot } from "./house.js";
import { overflows, seriousFindings, until } from "./support.js";

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
const PASSWORD = "very-secret-1";

describe("help", () => {
  const { url, call, asAdmin, visitor } = house();

  /** Somebody signed in, at the page where help is. */
  async function person(name, options = {}, role = null) {
    const email = `${crypto.randomUUID()}@example.com`;
    const { account_id: id } = await call("POST", "/api/accounts", { email, password: PASSWORD, name });
    if (role) await asAdmin("PATCH", `/api/accounts/${id}`, { role });
    const session = await call("POST", "/api/sessions", { email, password: PASSWORD });
    const there = await visitor(options);
    const { page } = there;
    // The browser's own page of no connection has no storage.
    await page.addInitScript((kept) => location.protocol === "http:" && localStorage.setItem("usher-booking-session", kept), JSON.stringify(session));
    await page.goto(url("/account"));
    await page.locator("a[href='/support']").first().click();
    return there;
  }

  const said = (page) => page.locator(".said p").allTextContents();
  const write = async (page, text) => {
    await page.getByLabel("Your message").fill(text);
    await page.getByRole("button", { name: "Send" }).click();
  };

  it("is a talk of two: the queue, the words, a lost connection, the end", async () => {
    const first = await person("First", PHONE);
    const second = await person("Second");
    await first.page.getByRole("button", { name: "Ask for help" }).click();
    await first.page.getByText("Please say in a few words").waitFor();
    await shot(first.page, "help-ask-phone");
    assert.deepEqual(await seriousFindings(first.page), []);
    for (const { page } of [first, second]) {
      await page.getByLabel("What is it about?").fill("My ticket");
      await page.getByRole("button", { name: "Ask for help" }).click();
      await page.getByText(/You are number/).waitFor();
    }
    await second.page.getByText("You are number 2 in the queue").waitFor();
    await shot(first.page, "help-queue-phone");
    assert.deepEqual(await seriousFindings(first.page), []);

    const desk = await person("Min <b>Seo</b>", {}, "counsellor");
    await desk.page.getByRole("button", { name: "Take nobody" }).click();
    await desk.page.getByRole("button", { name: "Ready" }).click();
    await desk.page.getByRole("heading", { name: "You are talking to First" }).waitFor();
    await second.page.getByText("You are number 1 in the queue").waitFor();
    assert.deepEqual(await seriousFindings(desk.page), []);
    await shot(desk.page, "help-offer-desk");
    await desk.page.getByRole("button", { name: "Take the conversation" }).click();
    await until("it is taken", async () => !await desk.page.getByRole("button", { name: "Take the conversation" }).isVisible());

    await write(first.page, "<img src=x> My ticket does not open");
    await desk.page.getByText("My ticket does not open").waitFor();
    await desk.page.getByLabel("Your message").pressSequentially("Which one? ");
    await first.page.getByText("Min <b>Seo</b> is writing…").waitFor();
    await desk.page.getByLabel("Your message").press("Enter");
    await until("the answer", async () => (await said(first.page)).length === 2);
    assert.equal(await first.page.locator("main img, main b").count(), 0, "what is said is only text");

    // What was said meanwhile is there once, in order, after a loss and after a reload.
    await first.context.setOffline(true);
    await first.page.reload().catch(() => {});
    await write(desk.page, "Row A?");
    await until("it is said", async () => (await said(desk.page)).length === 3);
    await first.context.setOffline(false);
    await first.page.goto(url("/support"));
    const all = ["<img src=x> My ticket does not open", "Which one?", "Row A?"];
    await until("all of it", async () => (await said(first.page)).length === 3);
    assert.deepEqual(await said(first.page), all);
    await desk.page.reload();
    await until("all of it at the desk", async () => (await said(desk.page)).length === 3);
    assert.equal(await desk.page.getByRole("button", { name: "Take the conversation" }).isVisible(), false, "it is taken already");
    for (const [page, name] of [[first.page, "help-talk-phone"], [desk.page, "help-talk-desk"]]) {
      assert.deepEqual(await seriousFindings(page), []);
      assert.equal(await overflows(page), false, name);
      await shot(page, name);
    }

    await desk.page.getByLabel("Summary").fill("Sent the ticket again.");
    await desk.page.getByRole("button", { name: "End and save" }).click();
    await first.page.locator("main").getByText("The conversation has ended.").waitFor();
    await desk.page.getByText("Finishing up").waitFor();
    await until("the day counts it", async () => /Conversations1/.test(await desk.page.textContent("main")));
    assert.equal(await desk.page.getByLabel("Your message").isVisible(), false);

    // The next one ends it by themselves; who waits may stop to.
    await desk.page.getByRole("button", { name: "Ready" }).click();
    await second.page.getByRole("heading", { name: "You are talking to" }).waitFor();
    await second.page.getByRole("button", { name: "End the conversation" }).click();
    await second.page.locator("#door").getByRole("button", { name: "End the conversation" }).click();
    await desk.page.getByText("The customer has ended the conversation.").waitFor();
    await desk.page.getByLabel("Summary").fill("Found it.");
    await desk.page.getByRole("button", { name: "End and save" }).click();
    await until("the day counts both", async () => /Conversations2/.test(await desk.page.textContent("main")));
    await first.page.getByRole("button", { name: "Ask something else" }).click();
    await first.page.getByLabel("What is it about?").fill("Once more");
    await first.page.getByRole("button", { name: "Ask for help" }).click();
    await first.page.getByRole("button", { name: "Do not wait any longer" }).click();
    await first.page.getByLabel("What is it about?").waitFor();
    for (const { faults } of [first, second, desk]) assert.deepEqual(faults, []);
  });
});

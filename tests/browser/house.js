// A demo for the browser tests that has an administrator: events of one's own, fans
// who look at them, and where their seats are on the map.
import { after, before } from "node:test";

import { launch, startDemo, until } from "./support.js";

export const SAMPLE = "winter-night-live";
const ADMIN = { email: "admin@example.com", password: "very-secret-1" };

/** Rows of so many seats; `accessible` are numbers of wheelchair places in the last. */
export const rows = (count, seats, accessible = []) => Array.from({ length: count }, (_, at) =>
  ({ row: at + 1, seats, ...(at === count - 1 ? { accessible } : {}) }));

/** A demo and a browser of one suite, for as long as it runs. */
export function house() {
  let demo;
  let browser;
  before(async () => {
    demo = await startDemo({ USHER__BOOKING__ADMIN__EMAIL: ADMIN.email, USHER__BOOKING__ADMIN__PASSWORD: ADMIN.password });
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await demo?.stop();
  });

  const url = (path) => demo.url + path;

  /** What the office answers to a call of its API, past the line. */
  async function call(method, path, body, token) {
    const headers = { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) };
    const answer = await fetch(demo.office + path, { method, headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  const asAdmin = async (method, path, body) => {
    const { access_token: token } = await call("POST", "/api/sessions", ADMIN);
    return call(method, path, body, token);
  };

  /** Adds an event; answers its id. */
  async function addEvent(sections, more = {}) {
    const now = Date.now();
    const event = { title: "A night", venue: "Hall", starts_at: now + 86_400_000, sale_opens_at: now - 60_000, currency: "KRW", ...more };
    const sections_ = sections.map((section) => ({ kind: "seated", price: 60_000, ...section }));
    return (await asAdmin("POST", "/api/events", { ...event, sections: sections_ })).id;
  }

  /** A browser of somebody's own, and what went wrong in it. Nothing moves by itself for who wants it so. */
  async function visitor(options = {}) {
    const context = await browser.newContext({ locale: "en-GB", reducedMotion: "reduce", viewport: { width: 1280, height: 800 }, ...options });
    const page = await context.newPage();
    const faults = [];
    page.on("pageerror", (error) => faults.push(error.message));
    page.on("console", (entry) => entry.text().includes("Content Security Policy") && faults.push(entry.text()));
    return { context, page, faults, close: () => context.close() };
  }

  /** A fan who was let in and looks at the event. */
  async function fan(event, options = {}, prepare = async () => {}) {
    const there = await visitor(options);
    const { page } = there;
    await page.goto(demo.url);
    await page.locator("a[href^='/events/']").first().waitFor({ timeout: 60_000 });
    await prepare(page);
    await page.goto(url(`/events/${event}`));
    await page.locator(".house").waitFor({ timeout: 60_000 });
    await until("the live map", async () => /\d/.test(await page.textContent("#looking")));
    return there;
  }

  return { url, call, asAdmin, addEvent, visitor, fan };
}

/** Where a seat, or a section without seats, is in the window while the whole house is shown, by the page's own rules. */
export function spot(page, seatOrSection) {
  return page.evaluate(async (id) => {
    const from = (name) => import(document.querySelector("script[type=module]").src.replace(/app\.js$/, `seats/${name}.js`));
    const [{ Plan }, { place }, { Camera }] = await Promise.all([from("plan"), from("place"), from("camera")]);
    const plan = new Plan(await (await fetch(`/api${location.pathname}/plan`)).json());
    const places = place(plan, innerWidth < 700 ? 0.8 : 1.3);
    const stage = document.querySelector(".map-stage");
    const camera = new Camera(places.box, () => {});
    camera.resize(stage.clientWidth, stage.clientHeight);
    const i = plan.indexOf(id);
    const centre = places.blocks.find(({ section }) => section.id === id)?.centre ?? [places.x[i], places.y[i]];
    const [x, y] = camera.toScreen(...centre);
    const { left, top } = stage.getBoundingClientRect();
    return { x: x + left + stage.clientLeft, y: y + top + stage.clientTop };
  }, seatOrSection);
}

/** Clicks on a seat or section of the whole house. */
export async function click(page, seatOrSection) {
  const { x, y } = await spot(page, seatOrSection);
  await page.mouse.click(x, y);
}

/** The names of the chosen seats, as they are shown. */
export const chosen = (page) => page.locator(".chosen li > span").allTextContents();

/** A picture to look at, into the folder `SHOTS`. */
export const shot = async (page, name) => process.env.SHOTS && page.screenshot({ path: `${process.env.SHOTS}/${name}.png` });

/** Holds seats from within a page, as its own account; answers when the office said so. */
export function holdFrom(page, seats) {
  return page.evaluate(async (ids) => {
    const send = async (path, body, token) => (await fetch(path, {
      method: "POST", body: JSON.stringify(body),
      headers: { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) },
    })).json();
    const who = { email: `${crypto.randomUUID()}@example.com`, password: "very-secret-1" };
    await send("/api/accounts", { ...who, name: "Other" });
    const { access_token: token } = await send("/api/sessions", who);
    const hold = await send(`/api${location.pathname}/holds`, { seats: ids }, token);
    return { ...hold, token, at: Date.now() };
  }, seats);
}

/** Gives a hold of `holdFrom` back. */
export const giveBack = (page, hold) => page.evaluate(async ({ hold_id: id, token }) =>
  (await fetch(`/api/holds/${id}`, { method: "DELETE", headers: { authorization: `Bearer ${token}` } })).status, hold);

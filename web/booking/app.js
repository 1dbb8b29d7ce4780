// The way from an address to its view.

import { Lost } from "./api.js";
import { el } from "./element.js";
import { notice } from "./parts.js";
import { remind } from "./purchase.js";
import { Page, alertUser, go, onRoute } from "./shell.js";
import { LANGUAGES, choose, language, loadWords, t } from "./words.js";

/** Address → view; what is in brackets is handed to it. A view is loaded when it is first opened. */
const VIEWS = [
  [/^\/$/, () => import("./views/events.js")],
  [/^\/events\/([^/]+)$/, () => import("./views/event.js")],
  [/^\/admission\/([^/]+)$/, () => import("./views/admission.js")],
  [/^\/checkout\/([^/]+)$/, () => import("./views/checkout.js")],
  [/^\/orders$/, () => import("./views/orders.js")],
  [/^\/orders\/([^/]+)$/, () => import("./views/order.js")],
  [/^\/tickets$/, () => import("./views/tickets.js")],
  [/^\/account$/, () => import("./views/account.js")],
  [/^\/support$/, () => import("./views/support.js")],
];
const RETRY_MS = 3_000;

const node = (id) => document.getElementById(id);
let page = new Page();

async function route() {
  page.leave();
  const mine = page = new Page();
  alertUser(null);
  node("main").setAttribute("aria-busy", "true");
  const [load, ...parts] = viewOf(location.pathname);
  try {
    const view = await load();
    if (!mine.signal.aborted) await view.draw(mine, ...parts);
  } catch (error) {
    mine.explain(error);
    failed(mine, error);
  }
  if (!mine.signal.aborted) remind(mine);
}

function viewOf(path) {
  for (const [address, load] of VIEWS) {
    const found = path.match(address);
    if (found) return [load, ...found.slice(1)];
  }
  return [() => Promise.reject(new Error(`no view of ${path}`))];
}

/** Nothing could be drawn: says so, and tries again by itself when there was no connection. */
function failed(mine, error) {
  if (mine.shown || mine.signal.aborted) return;
  const words = error.message && !(error instanceof Lost) && error.code ? error.message : t("app.offline");
  mine.show(words, notice(words, "",
    el("button", { class: "button", type: "button", onclick: route }, t("app.retry")),
    el("a", { class: "button second", href: "/" }, t("events.title"))));
  if (error instanceof Lost) setTimeout(() => mine.signal.aborted || route(), RETRY_MS);
}

function drawFrame() {
  node("home").textContent = t("app.title");
  node("orders-link").textContent = t("app.orders");
  node("tickets-link").textContent = t("app.tickets");
  const chooser = node("language");
  chooser.hidden = false;
  chooser.setAttribute("aria-label", t("app.language"));
  chooser.replaceChildren(...Object.entries(LANGUAGES).map(([tag, name]) =>
    el("option", { value: tag, lang: tag, selected: tag === language }, name)));
}

node("language").addEventListener("change", async (event) => {
  try {
    await choose(event.target.value);
  } catch (error) {
    return page.explain(error);
  }
  drawFrame();
  await route();
  event.target.focus();
});
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/']");
  if (!link || link.pathname.startsWith("/api") || "reload" in link.dataset) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  go(link.pathname + link.search);
});
addEventListener("popstate", route);
onRoute(route);

// The first view's files come while the words do.
VIEWS.find(([address]) => address.test(location.pathname))?.[1]().catch(() => {});
await loadWords();
drawFrame();
route();

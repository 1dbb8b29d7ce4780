// The way from an address to its view.

import { session } from "./api.js";
import { el } from "./element.js";
import { Page, alertUser, go, onRoute } from "./shell.js";
import { LANGUAGES, choose, language, loadWords, t } from "./words.js";

/** Address → view; what is in brackets is handed to it. A view is loaded when it is first opened. */
const VIEWS = [
  [/^\/$/, () => import("./views/events.js")],
  [/^\/events\/([^/]+)$/, () => import("./views/event.js")],
  [/^\/checkout\/([^/]+)$/, () => import("./views/checkout.js")],
  [/^\/tickets$/, () => import("./views/tickets.js")],
  [/^\/account$/, () => import("./views/account.js")],
];

let page = new Page();

async function route() {
  page.leave();
  const mine = page = new Page();
  alertUser(null);
  document.getElementById("main").setAttribute("aria-busy", "true");
  for (const [address, load] of VIEWS) {
    const found = location.pathname.match(address);
    if (!found) continue;
    try {
      const view = await load();
      if (!mine.signal.aborted) await view.draw(mine, ...found.slice(1));
    } catch (error) {
      mine.explain(error);
    }
    return;
  }
  location.reload();
}

function drawFrame() {
  document.getElementById("home").textContent = t("app.title");
  document.getElementById("tickets-link").textContent = t("app.tickets");
  const chooser = document.getElementById("language");
  chooser.setAttribute("aria-label", t("app.language"));
  chooser.replaceChildren(...Object.entries(LANGUAGES).map(([tag, name]) =>
    el("option", { value: tag, lang: tag, selected: tag === language }, name)));
}

document.getElementById("language").addEventListener("change", async (event) => {
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

await loadWords();
drawFrame();
route();

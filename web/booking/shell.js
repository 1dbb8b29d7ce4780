// The frame around every view: what is shown, said and repeated, and how one
// view follows another. A view gets a `Page`; what it leaves running on it stops
// when the next one begins.

import { Lost, Refused, session, wire } from "./api.js";
import { el } from "./element.js";
import { t } from "./words.js";

const ALERT_MS = 8_000;
const node = (id) => document.getElementById(id);

let alertTimer;
let route = () => {};

/** Tells the frame what draws the view of the address. */
export const onRoute = (draw) => (route = draw);

/** Says something to those who listen instead of looking. */
export const say = (text) => (node("say").textContent = text);

/** Shows a message on top for a while; null takes it away. */
export function alertUser(text) {
  const box = node("alert");
  box.hidden = !text;
  box.replaceChildren(text ?? "");
  clearTimeout(alertTimer);
  if (text) alertTimer = setTimeout(() => (box.hidden = true), ALERT_MS);
}

/** Opens another view. */
export function go(path, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", path);
  return route();
}

/** Draws the view of the address again. */
export const again = () => route();

/** Who is signed in, in the corner. */
export function drawWho() {
  const account = session()?.account;
  node("who").replaceChildren(account ? el("bdi", {}, account.name) : t("door.signIn"));
}

/** Asks before something that cannot be undone; whether the answer was yes. */
export function ask(title, text, yes, no) {
  const box = node("door");
  const button = (value, words, kind) => el("button", { class: `button ${kind}`, value }, words);
  box.replaceChildren(el("form", { method: "dialog" },
    el("h2", { id: "door-title" }, title), el("p", {}, text),
    el("p", { class: "actions" }, button("yes", yes, ""), button("no", no, "second"))));
  box.returnValue = "";
  box.showModal();
  return new Promise((done) => box.addEventListener("close", () => done(box.returnValue === "yes"), { once: true }));
}

for (const [sign, lost] of [["lost", true], ["back", false]]) {
  wire.addEventListener(sign, () => {
    node("offline").hidden = !lost;
    node("offline").textContent = lost ? t("app.offline") : "";
  });
}

/** One view's stay on the page. */
export class Page {
  #stay = new AbortController();

  /** Whether something was drawn. */
  shown = false;

  /** Aborts when another view begins. */
  get signal() {
    return this.#stay.signal;
  }

  /** Ends what was begun here. */
  leave() {
    this.#stay.abort();
  }

  /** The title of the tab. */
  title(text) {
    if (!this.signal.aborted) document.title = text ? `${text} · ${t("app.title")}` : t("app.title");
  }

  /** Draws the view and moves focus to its heading, so that it is read from its top. */
  show(title, ...nodes) {
    if (this.signal.aborted) return;
    this.shown = true;
    const main = node("main");
    main.replaceChildren(...nodes.filter((child) => child != null));
    main.removeAttribute("aria-busy");
    this.title(title);
    drawWho();
    const top = main.querySelector("h1") ?? main;
    top.tabIndex = -1;
    top.focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  /** Calls `work` every so many milliseconds while the view stays. */
  tick(ms, work) {
    const timer = setInterval(work, ms);
    this.signal.addEventListener("abort", () => clearInterval(timer));
  }

  /** Repeats what asks the server, while the view stays and is looked at, and at once when looked at again. */
  every(ms, work) {
    const { signal } = this;
    let timer;
    let busy = false;
    const turn = async () => {
      if (busy || signal.aborted) return;
      clearTimeout(timer);
      busy = true;
      if (!document.hidden) await work().catch((error) => this.explain(error));
      busy = false;
      if (!signal.aborted) timer = setTimeout(turn, ms);
    };
    timer = setTimeout(turn, ms);
    signal.addEventListener("abort", () => clearTimeout(timer));
    document.addEventListener("visibilitychange", turn, { signal });
    addEventListener("online", turn, { signal });
  }

  /** Says what went wrong, in kind words. */
  explain(error) {
    if (this.signal.aborted) return;
    // Without a connection there is a word for it already.
    if (error instanceof Lost) return;
    if (!(error instanceof Refused)) {
      alertUser(t("app.trouble"));
      throw error;
    }
    if (error.code === "waiting" || error.code === "pass_required") return this.#passOver();
    if (error.code === "unauthenticated") return route();
    alertUser(error.message);
  }

  #passOver() {
    if (node("door").open) node("door").close();
    this.show(t("app.passOver"), el("section", { class: "card notice" },
      el("h1", {}, t("app.passOver")), el("p", {}, t("app.passOverText")),
      el("p", { class: "actions" },
        el("a", { class: "button", href: "/", "data-reload": "" }, t("app.toLine")),
        el("a", { class: "button second", href: "/orders" }, t("app.orders")))));
  }
}

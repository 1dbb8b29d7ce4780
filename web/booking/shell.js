// The frame around every view: what is shown, said and repeated, and how one
// view follows another. A view gets a `Page`; what it leaves running on it stops
// when the next one begins.

import { Refused, session } from "./api.js";
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

/** One view's stay on the page. */
export class Page {
  #stay = new AbortController();

  /** Aborts when another view begins. */
  get signal() {
    return this.#stay.signal;
  }

  /** Ends what was begun here. */
  leave() {
    this.#stay.abort();
  }

  /** Draws the view and moves focus to it, so that it is read from its top. */
  show(title, ...nodes) {
    if (this.signal.aborted) return;
    const main = node("main");
    main.replaceChildren(...nodes.filter((child) => child != null));
    main.removeAttribute("aria-busy");
    document.title = title ? `${title} · ${t("app.title")}` : t("app.title");
    drawWho();
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  /** Repeats `work` while the view stays and is looked at; a missing connection is waited out. */
  every(ms, work) {
    let timer;
    const turn = async () => {
      if (!document.hidden) await work().catch((error) => this.explain(error));
      if (!this.signal.aborted) timer = setTimeout(turn, ms);
    };
    timer = setTimeout(turn, ms);
    this.signal.addEventListener("abort", () => clearTimeout(timer));
  }

  /** Says what went wrong, in kind words. */
  explain(error) {
    if (this.signal.aborted) return;
    if (error instanceof TypeError) return alertUser(t("app.offline"));
    if (!(error instanceof Refused)) {
      alertUser(t("app.trouble"));
      throw error;
    }
    if (error.code === "waiting" || error.code === "pass_required") return this.#passOver();
    alertUser(error.message);
  }

  #passOver() {
    this.show(t("app.passOver"), el("section", { class: "card" }, el("h1", {}, t("app.passOver")),
      el("a", { class: "button", href: "/", "data-reload": "" }, t("app.toLine"))));
  }
}

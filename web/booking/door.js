// Who is buying: signing in, signing up, or a guest of this browser.

import { Lost, beGuest, session, signIn, signUp } from "./api.js";
import { el } from "./element.js";
import { drawWho } from "./shell.js";
import { t } from "./words.js";

const door = document.getElementById("door");

/** Does `work` signed in, asking at the door if need be. */
export async function enter(page, work) {
  const run = () => work().catch((error) => page.explain(error));
  if (session()) return run();
  page.signal.addEventListener("abort", () => door.close());
  door.replaceChildren(
    el("h2", { id: "door-title" }, t("door.title")),
    ...ways(page, async () => {
      door.close();
      await run();
    }),
    el("button", { class: "link", type: "button", onclick: () => door.close() }, t("app.cancel")));
  door.showModal();
}

/** A view of its own that asks who is there, then draws the wanted one. */
export function askAt(page, again) {
  page.show(t("door.first"), el("section", { class: "card narrow" },
    el("h1", {}, t("door.first")), ...ways(page, again)));
}

/** The ways to be somebody; `done` is called after one of them was taken. */
function ways(page, done) {
  const refused = el("p", { class: "refused", role: "alert" });
  const refuse = (words, at) => {
    refused.textContent = words;
    at?.setAttribute("aria-invalid", "true");
    at?.focus();
  };
  const attempt = (how) => async (event) => {
    event.preventDefault();
    refused.textContent = "";
    const form = event.target.closest("form");
    const wrong = form && check(form);
    if (wrong) return refuse(wrong.words, wrong.field);
    const button = event.submitter ?? event.target;
    button.disabled = true;
    try {
      await how(form);
    } catch (error) {
      button.disabled = false;
      if (error.code === "waiting") return page.explain(error);
      button.focus();
      return refuse(error instanceof Lost ? t("app.offline") : error.message);
    }
    button.disabled = false;
    drawWho();
    await done();
  };
  const values = (form) => Object.fromEntries(new FormData(form));
  return [
    el("button", { class: "button wide", type: "button", onclick: attempt(() => beGuest(t("door.guestName"))) }, t("door.guest")),
    el("p", { class: "quiet" }, t("door.guestNote")),
    form(t("door.haveAccount"), t("door.signIn"), attempt((form) => {
      const { email, password } = values(form);
      return signIn(email, password);
    }), field("old-email", "email", "email", "username"), field("old-password", "password", "password", "current-password")),
    form(t("door.newAccount"), t("door.signUp"), attempt((form) => {
      const { email, password, name } = values(form);
      return signUp(email, password, name);
    }), field("new-name", "name", "text", "name"), field("new-email", "email", "email", "username"),
    field("new-password", "password", "password", "new-password")),
    refused,
  ];
}

/** The first field that cannot be right, in our words: a browser's own would be in its language. */
function check(form) {
  const rules = [
    ["name", (value) => value.trim(), "door.badName"],
    ["email", (value) => /^[^\s@]+@[^\s@]+$/.test(value.trim()), "door.badEmail"],
    ["password", (value) => [...value].length >= 8, "door.shortPassword"],
  ];
  for (const [name, fits, words] of rules) {
    const field = form.elements[name];
    field?.removeAttribute("aria-invalid");
    if (field && !fits(field.value)) return { field, words: t(words) };
  }
  return null;
}

const form = (title, button, onsubmit, ...fields) => el("details", { name: "who" }, el("summary", {}, title),
  el("form", { class: "fields column", onsubmit, novalidate: true }, ...fields, el("button", { class: "button" }, button)));

const field = (id, name, type, autocomplete) => el("label", { for: id }, t(`door.${name}`),
  el("input", { id, name, type, autocomplete, required: true, dir: name === "password" ? null : "auto" }));

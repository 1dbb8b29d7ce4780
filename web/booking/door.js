// Who is buying: signing in, signing up, or a guest of this browser.

import { beGuest, session, signIn, signUp, topUp } from "./api.js";
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
    ...ways(async () => {
      door.close();
      await run();
    }),
    el("button", { class: "link", type: "button", onclick: () => door.close() }, t("app.cancel")));
  door.showModal();
}

/** The ways to be somebody; `done` is called after one of them was taken. */
export function ways(done) {
  const refused = el("p", { class: "refused", role: "alert" });
  const attempt = (how) => async (event) => {
    event.preventDefault();
    refused.textContent = "";
    try {
      await how(event.target);
    } catch (error) {
      refused.textContent = error instanceof TypeError ? t("app.offline") : error.message;
      return;
    }
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
    form(t("door.newAccount"), t("door.signUp"), attempt(async (form) => {
      const { email, password, name } = values(form);
      await signUp(email, password, name);
      await topUp();
    }), field("new-name", "name", "text", "name"), field("new-email", "email", "email", "username"),
    field("new-password", "password", "password", "new-password")),
    refused,
  ];
}

const form = (title, button, onsubmit, ...fields) => el("details", {}, el("summary", {}, title),
  el("form", { class: "fields column", onsubmit }, ...fields, el("button", { class: "button" }, button)));

const field = (id, name, type, autocomplete) => el("label", { for: id }, t(`door.${name}`),
  el("input", { id, name, type, autocomplete, required: true, minlength: type === "password" ? 8 : 1 }));

// Who is signed in.

import { session, signOut } from "../api.js";
import { ways } from "../door.js";
import { el } from "../element.js";
import { again, go } from "../shell.js";
import { t } from "../words.js";

export async function draw(page) {
  const account = session()?.account;
  if (!account) {
    return page.show(t("door.signIn"), el("section", { class: "card narrow" }, el("h1", {}, t("door.signIn")), ...ways(again)));
  }
  const leave = async () => {
    await signOut();
    await go("/account");
  };
  page.show(account.name, el("section", { class: "card narrow" },
    el("h1", { dir: "auto" }, account.name),
    el("p", { class: "quiet" }, el("bdi", {}, account.email)),
    el("button", { class: "button second", type: "button", onclick: leave }, t("app.signOut"))));
}

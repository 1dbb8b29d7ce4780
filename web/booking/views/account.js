// Who is signed in, and their points.

import { get, isGuest, session, signOut, topUp } from "../api.js";
import { askAt } from "../door.js";
import { el } from "../element.js";
import { button } from "../parts.js";
import { again, alertUser } from "../shell.js";
import { money, t } from "../words.js";

const AMOUNTS = [100_000, 500_000, 1_000_000];

export async function draw(page) {
  const account = session()?.account;
  if (!account) return askAt(page, again);
  const wallet = await get("/api/wallet");
  const leave = async () => {
    await signOut();
    await again();
  };
  page.show(t("account.title"),
    el("h1", {}, t("account.title")),
    el("section", { class: "card" },
      el("h2", { dir: "auto" }, account.name),
      el("p", { class: "quiet" }, isGuest(account) ? t("door.guestNote") : el("bdi", {}, account.email)),
      el("p", { class: "actions" },
        el("a", { class: "button second", href: "/orders" }, t("app.orders")),
        el("a", { class: "button second", href: "/tickets" }, t("app.tickets")),
        el("a", { class: "button second", href: "/support" },
          t(account.role === "counsellor" ? "support.desk" : "support.title")),
        button(t("app.signOut"), leave, { kind: "second" }))),
    purse(page, wallet));
}

function purse(page, { balance, currency }) {
  const face = el("strong", { class: "amount" }, money(balance, currency));
  const refused = el("p", { class: "refused", role: "alert" });
  const field = el("input", { id: "amount", inputmode: "numeric", autocomplete: "off", dir: "ltr" });
  const charge = async (amount) => {
    refused.textContent = "";
    if (!Number.isSafeInteger(amount) || amount < 1) {
      refused.textContent = t("account.badAmount");
      return field.focus();
    }
    try {
      const now = await topUp(amount);
      face.textContent = money(now.balance, currency);
      field.value = "";
      alertUser(t("account.charged", { amount: face.textContent }));
    } catch (error) {
      if (!error.code) return page.explain(error);
      refused.textContent = error.message;
    }
  };
  const submit = (event) => {
    event.preventDefault();
    charge(Number(field.value.replace(/[\s,.]/g, "") || NaN));
  };
  return el("section", { class: "card" },
    el("h2", {}, t("account.wallet")),
    el("p", { class: "quiet" }, t("account.walletNote")),
    el("p", { class: "apart" }, el("span", {}, t("account.balance")), face),
    el("p", { class: "actions" }, ...AMOUNTS.map((amount) =>
      button(`+ ${money(amount, currency)}`, () => charge(amount), { kind: "second" }))),
    el("form", { class: "fields", onsubmit: submit, novalidate: true },
      el("label", { for: "amount" }, t("account.amount"), field),
      el("button", { class: "button" }, t("account.charge"))),
    refused);
}

// "The best 2 together": how many, where, how dear; and places sold by count.

import { leftWords } from "./names.js";
import { pricesOf } from "./look.js";
import { el } from "../element.js";
import { money, t } from "../words.js";

const numbers = (most, chosen) => Array.from({ length: most }, (_, at) =>
  el("option", { value: at + 1, selected: at + 1 === chosen }, String(at + 1)));

/** The form; `take(best)` is called with what `POST …/holds` wants. */
export function bestForm({ plan, currency, take }) {
  const count = el("select", { id: "best-count" }, ...numbers(plan.most, Math.min(2, plan.most)));
  const part = el("select", { id: "best-part" }, el("option", { value: "" }, t("seats.anywhere")),
    ...plan.sections.map(({ id, name }) => el("option", { value: id }, name)));
  const price = el("select", { id: "best-price" }, el("option", { value: "" }, t("seats.anyPrice")),
    ...pricesOf(plan).slice(1).map((price) => el("option", { value: price }, t("seats.upTo", { price: money(price, currency) }))));
  const button = el("button", { class: "button wide" });
  const label = () => (button.textContent = count.value === "1" ? t("seats.bestOne") : t("seats.bestGo", { n: Number(count.value) }));
  count.addEventListener("change", label);
  label();
  const field = (node, word) => el("label", { for: node.id }, word, node);
  const node = el("form", {
    class: "best-form",
    onsubmit: (event) => {
      event.preventDefault();
      take({
        count: Number(count.value),
        ...(part.value ? { section: part.value } : {}),
        ...(price.value ? { max_price: Number(price.value) } : {}),
      });
    },
  }, el("div", { class: "fields" }, field(count, t("seats.people")), field(part, t("seats.sections")),
    plan.sections.length > 1 && price.options.length > 1 ? field(price, t("seats.price")) : null), button);
  return { node, close: (closed) => (button.disabled = closed) };
}

/** Asks how many places of a section without chosen seats, then calls `take(best)`. */
export function askCount({ dialog, section, most, currency, closed, take }) {
  const grows = section.kind === "expandable";
  const count = el("select", { id: "count-of" }, ...numbers(grows ? most : Math.min(most, Math.max(section.free, 1)), 1));
  const total = el("strong", {});
  const draw = () => (total.textContent = money(section.price * Number(count.value), currency));
  count.addEventListener("change", draw);
  draw();
  const none = section.free === 0 && !grows;
  dialog.replaceChildren(
    el("h2", { id: "count-title" }, el("bdi", {}, section.name)),
    el("p", { class: "quiet" }, `${t("seats.byCount")} · ${leftWords(section)}`),
    el("form", {
      class: "fields",
      onsubmit: (event) => {
        event.preventDefault();
        dialog.close();
        take({ count: Number(count.value), section: section.id });
      },
    }, el("label", { for: "count-of" }, t("seats.howMany"), count),
    el("p", {}, `${t("seats.total")} `, total),
    el("button", { class: "button wide", disabled: none || Boolean(closed) }, closed || t("seats.hold"))),
    el("button", { class: "link", type: "button", onclick: () => dialog.close() }, t("app.cancel")));
  dialog.showModal();
}

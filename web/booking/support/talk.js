// A talk as both sides see it: what was said, who writes, a field for more.

import { el } from "../element.js";
import { say as tell } from "../shell.js";
import { clockTime, t } from "../words.js";

const MOST = 2_000;
/** A word of typing is told so often at most, and believed so long. */
const TYPING_MS = 3_000;

/**
 * One talk: `mine` is our side's name on the wire, `say(message)` tells whether a
 * message is on its way. Returns its `node`, and what to do with what is heard:
 * `meet` whom we talk to, `message`, `typing`, and `over` once nothing more can be said.
 */
export function drawTalk({ mine, session_id, say }) {
  const title = el("h2", {});
  let other = "";
  const log = el("div", { class: "said", role: "log", tabindex: "0", "aria-label": t("support.talk") });
  const writes = el("p", { class: "quiet writes" });
  const field = el("textarea", { id: "text", rows: 2, maxlength: MOST, autocomplete: "off", dir: "auto" });
  const refused = el("p", { class: "refused", role: "alert" });
  let toldAt = 0;
  let timer;

  const send = (event) => {
    event?.preventDefault();
    const text = field.value.trim();
    if (!text) return field.focus();
    const isSent = say({ type: "message", session_id, text });
    refused.textContent = isSent ? "" : t("support.notSent");
    if (isSent) field.value = "";
    field.focus();
  };
  field.addEventListener("keydown", (event) => {
    // Not while a syllable is being put together.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
  });
  field.addEventListener("input", () => {
    if (Date.now() - toldAt < TYPING_MS) return;
    toldAt = Date.now();
    say({ type: "typing", session_id });
  });
  const form = el("form", { class: "fields", onsubmit: send, novalidate: true },
    el("label", { for: "text" }, t("support.text"), field),
    el("button", { class: "button" }, t("support.send")));

  return {
    node: el("div", {}, title, log, writes, form, refused),
    meet(name) {
      if (name === other) return;
      other = name;
      title.textContent = t("support.with", { name });
      tell(title.textContent);
    },
    message({ id, from, text, at }) {
      const isMine = from === mine;
      const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
      log.append(el("div", { "data-mine": isMine },
        el("span", { class: "quiet" }, el("bdi", {}, isMine ? t("support.you") : other), ` · ${clockTime(at)}`),
        el("p", { dir: "auto" }, text)));
      if (isAtEnd || isMine) log.scrollTop = log.scrollHeight;
      if (isMine) return;
      writes.textContent = "";
      say({ type: "read", session_id, id });
    },
    typing() {
      writes.textContent = t("support.writes", { name: other });
      clearTimeout(timer);
      timer = setTimeout(() => (writes.textContent = ""), 2 * TYPING_MS);
    },
    over() {
      clearTimeout(timer);
      writes.textContent = "";
      form.hidden = true;
    },
  };
}

// A fan asks for help: waits for somebody, talks, and is done.

import { call, get, postOnce, session } from "../api.js";
import { askAt } from "../door.js";
import { el } from "../element.js";
import { button } from "../parts.js";
import { again, ask, say as tell } from "../shell.js";
import { openLine } from "../support/line.js";
import { drawTalk } from "../support/talk.js";
import { t } from "../words.js";

const REQUEST = "usher-support-request";
const TOPIC = 200;

export async function draw(page) {
  const account = session()?.account;
  if (!account) return askAt(page, again);
  if (account.role === "counsellor") return (await import("./desk.js")).draw(page);
  const face = el("section", { class: "card" });
  const lost = el("p", { class: "refused", role: "status" });
  let talk = null;
  let now = "";
  /** Shows what goes on now; the focus stays in what is new, not on nothing. */
  const show = (name, ...nodes) => {
    now = name;
    face.replaceChildren(...nodes);
  };

  const position = el("p", { class: "amount", role: "status" });
  const wait = (place) => {
    position.textContent = t("support.position", { n: place });
    if (now === "waiting") return;
    show("waiting", el("h2", {}, t("support.waiting")), position, el("p", { class: "quiet" }, t("support.waitNote")),
      el("p", { class: "actions" }, button(t("support.stop"), stop, { kind: "second" })));
  };
  const stop = async () => {
    const id = localStorage.getItem(REQUEST);
    try {
      // Waiting elsewhere, it is the same request that answers.
      const request = id ?? (await postOnce("/api/support/requests", { topic: t("support.title") })).request_id;
      await call("DELETE", `/api/support/requests/${request}`);
      localStorage.removeItem(REQUEST);
      form();
    } catch (error) {
      page.explain(error);
    }
  };
  const form = () => {
    const field = el("input", { id: "topic", maxlength: TOPIC, autocomplete: "off", dir: "auto" });
    const refused = el("p", { class: "refused", role: "alert" });
    const submit = async (event) => {
      event.preventDefault();
      const topic = field.value.trim();
      refused.textContent = topic ? "" : t("support.noTopic");
      if (!topic) return field.focus();
      const go = event.submitter;
      if (go) go.disabled = true;
      try {
        const request = await postOnce("/api/support/requests", { topic });
        localStorage.setItem(REQUEST, request.request_id);
        if (request.state === "QUEUED" && now === "form") wait(request.position);
      } catch (error) {
        if (go) go.disabled = false;
        if (!error.code) return page.explain(error);
        refused.textContent = error.message;
      }
    };
    show("form", el("p", {}, t("support.intro")),
      el("form", { class: "fields", onsubmit: submit, novalidate: true },
        el("label", { for: "topic" }, t("support.topic"), field),
        el("button", { class: "button" }, t("support.ask"))), refused);
  };
  const begin = ({ session_id, with: other }) => {
    if (talk?.session_id !== session_id) talk = { session_id, ...drawTalk({ mine: "customer", session_id, say }) };
    talk.meet(other);
    // After a reconnect it is all there already.
    if (now === "talk") return;
    const end = async () => {
      if (await ask(t("support.endTitle"), t("support.endText"), t("support.end"), t("app.cancel"))) {
        say({ type: "end", session_id });
      }
    };
    show("talk", talk.node, el("p", { class: "actions" }, button(t("support.end"), end, { kind: "second" })));
  };
  const end = ({ session_id, by }) => {
    if (talk?.session_id !== session_id) return;
    talk.over();
    const words = t(by === "system" ? "support.endedSystem" : "support.ended");
    face.querySelector(".actions")?.remove();
    face.append(el("p", {}, words));
    tell(words);
    talk = null;
    now = "ended";
    if (by === "system") return;
    face.append(el("p", { class: "actions" }, button(t("support.another"), form)));
    localStorage.removeItem(REQUEST);
  };

  page.show(t("support.title"), el("h1", {}, t("support.title")), face, lost);
  const of = (message) => talk?.session_id === message.session_id;
  const heard = {
    queued: (message) => wait(message.position),
    matched: begin,
    message: (message) => of(message) && talk.message(message),
    typing: (message) => of(message) && talk.typing(),
    ended: end,
  };
  form();
  const say = openLine({
    hear: (message) => heard[message.type]?.(message),
    lost: (is) => (lost.textContent = is ? t("app.offline") : ""),
    signedOut: again,
    signal: page.signal,
  });
  // Without a socket the place in the queue is asked for: it is a sign of life, too.
  page.every(15_000, async () => {
    const id = localStorage.getItem(REQUEST);
    if (now !== "waiting" || !id) return;
    const request = await get(`/api/support/requests/${id}`);
    if (request.state === "QUEUED" && now === "waiting") wait(request.position);
    if (request.state === "ENDED" && now === "waiting") form();
  });
}

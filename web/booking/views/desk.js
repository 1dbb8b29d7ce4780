// A counsellor at work: on and off, the customer who is offered, the talk, its summary, the day.

import { call, get, post } from "../api.js";
import { el } from "../element.js";
import { button, clock } from "../parts.js";
import { again, alertUser } from "../shell.js";
import { openLine } from "../support/line.js";
import { drawTalk } from "../support/talk.js";
import { number, t } from "../words.js";

const SUMMARY = 4_000;
const LOOK_MS = 5_000;

export async function draw(page) {
  const state = el("section", { class: "card" });
  const face = el("section", { class: "card", hidden: true });
  const day = el("section", { class: "card" });
  const lost = el("p", { class: "refused", role: "status" });
  let me = null;
  let talk = null;

  const choose = async (wanted) => {
    try {
      drawState((await call("PATCH", "/api/counselors/me", { state: wanted })).json);
    } catch (error) {
      page.explain(error);
    }
  };
  const drawState = (next) => {
    const isSame = me?.state === next.state && me.accepted_at === next.accepted_at;
    me = next;
    if (isSame && state.firstChild) return;
    state.replaceChildren(
      el("p", { class: "apart" }, el("span", {}, t("support.state")),
        el("span", { class: "badge", role: "status", "data-status": next.state }, t(`support.${next.state}`))),
      el("p", { class: "actions" }, ...next.allowed.map((to) =>
        button(t(`support.go.${to}`), () => choose(to), { kind: to === "READY" ? "" : "second" }))));
    if (talk?.accept) talk.accept.hidden = next.accepted_at !== null;
  };
  const look = async () => drawState(await get("/api/counselors/me"));
  const drawDay = async () => {
    const figures = await get(`/api/counselors/me/kpi?date=${new Date().toISOString().slice(0, 10)}`);
    const time = (ms) => (ms === null ? "–" : clock(ms));
    const pair = (words, value) => el("p", { class: "apart" }, el("span", {}, words), el("strong", {}, value));
    day.replaceChildren(el("h2", {}, t("support.day")), pair(t("support.sessions"), number(figures.sessions)),
      pair(t("support.handling"), time(figures.mean_handling_ms)), pair(t("support.meanWait"), time(figures.mean_waiting_ms)));
  };

  const begin = async ({ session_id, with: other }) => {
    if (talk?.session_id === session_id) return;
    const accept = el("p", { class: "actions" }, button(t("support.accept"), async () => {
      say({ type: "accept", session_id });
      accept.hidden = true;
      talk?.node.querySelector("textarea")?.focus();
    }));
    const summary = el("textarea", { id: "summary", rows: 2, maxlength: SUMMARY, autocomplete: "off", dir: "auto" });
    const finish = async (event) => {
      event.preventDefault();
      const text = summary.value.trim();
      const go = event.submitter;
      if (go) go.disabled = true;
      try {
        await post(`/api/support/sessions/${session_id}/end`, text ? { summary: text } : {});
        close(session_id);
        await Promise.all([look(), drawDay()]);
      } catch (error) {
        if (go) go.disabled = false;
        page.explain(error);
      }
    };
    talk = { session_id, accept, ...drawTalk({ mine: "counsellor", session_id, say }) };
    talk.meet(other);
    face.hidden = false;
    face.replaceChildren(accept, talk.node,
      el("form", { class: "fields", onsubmit: finish, novalidate: true },
        el("label", { for: "summary" }, t("support.summary"), summary),
        el("button", { class: "button second" }, t("support.finish"))));
    await look();
    accept.hidden = me.accepted_at !== null;
  };
  const close = (session_id) => {
    if (talk?.session_id !== session_id) return;
    talk = null;
    face.hidden = true;
    face.replaceChildren();
  };
  // The customer is gone: what was said stays, and the summary can be written.
  const end = async ({ session_id, by }) => {
    if (talk?.session_id !== session_id) return;
    talk.over();
    talk.accept.hidden = true;
    if (by === "customer") alertUser(t("support.customerLeft"));
    else close(session_id);
    await Promise.all([look(), drawDay()]);
  };

  page.show(t("support.desk"), el("h1", {}, t("support.desk")), state, face, lost, day);
  const of = (message) => talk?.session_id === message.session_id;
  const heard = {
    matched: begin,
    message: (message) => of(message) && talk.message(message),
    typing: (message) => of(message) && talk.typing(),
    ended: end,
  };
  await Promise.all([look(), drawDay()]);
  const say = openLine({
    hear: (message) => Promise.resolve(heard[message.type]?.(message)).catch((error) => page.explain(error)),
    lost: (is) => (lost.textContent = is ? t("app.offline") : ""),
    signedOut: again,
    signal: page.signal,
  });
  page.every(LOOK_MS, look);
}

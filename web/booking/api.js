// The booking API as the page uses it: who is signed in, calls, refusals.

const SESSION = "usher-booking-session";
const GUEST = "usher-booking-guest";
/** No mail goes there (RFC 2606). */
const NOWHERE = "@guest.invalid";
const GUEST_MONEY = 1_000_000;

/** A refusal: `code` for us, `message` for people, already in their language. */
export class Refused extends Error {
  constructor(status, body) {
    super(body.title ?? String(status));
    this.status = status;
    this.code = body.code ?? "";
    this.body = body;
  }
}

/** Tells `lost` when the server cannot be reached, `back` when it answers again. */
export const wire = new EventTarget();
const PATIENCE_MS = 30_000;
let reached = true;

function connected(now) {
  if (now !== reached) wire.dispatchEvent(new Event(now ? "back" : "lost"));
  reached = now;
}

/** The server could not be reached, or did not answer in time. */
export class Lost extends Error {}

async function ask(path, options) {
  const sentAt = Date.now();
  try {
    const response = await fetch(path, { ...options, signal: AbortSignal.timeout(PATIENCE_MS) });
    const text = await response.text();
    connected(true);
    setClock(Date.parse(response.headers.get("date") ?? ""), sentAt);
    return { response, text };
  } catch (error) {
    connected(false);
    throw new Lost("no answer", { cause: error });
  }
}

// How far the server's clock is ahead of ours: every answer says it to a second,
// all of them together much better, until one of the two clocks is set.
let ahead = { least: -Infinity, most: Infinity };

function setClock(date, sentAt) {
  if (!date) return;
  const told = { least: date - Date.now(), most: date + 1_000 - sentAt };
  const both = { least: Math.max(ahead.least, told.least), most: Math.min(ahead.most, told.most) };
  ahead = both.least <= both.most ? both : told;
}

/** The server's time, as far as its answers told it. */
export const serverNow = () => Date.now() + (ahead.most < Infinity ? (ahead.least + ahead.most) / 2 : 0);

/** The stored session, if it still runs. */
export function session() {
  const stored = JSON.parse(localStorage.getItem(SESSION) ?? "null");
  return stored && stored.expires_at > serverNow() ? stored : null;
}

/** Calls the API; a refusal is thrown as `Refused`, no connection as `Lost`. */
export async function call(method, path, body, headers = {}) {
  const signedIn = session();
  const { response, text } = await ask(path, {
    method,
    headers: {
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(signedIn ? { authorization: `Bearer ${signedIn.access_token}` } : {}),
      "accept-language": document.documentElement.lang,
      accept: "application/json",
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const json = text && response.headers.get("content-type")?.includes("json") ? JSON.parse(text) : {};
  if (!response.ok) {
    if (response.status === 401 && signedIn) localStorage.removeItem(SESSION);
    throw new Refused(response.status, json);
  }
  return { json, text, etag: response.headers.get("etag") };
}

export const get = async (path) => (await call("GET", path)).json;
/** A picture of ours as an address for an `<img>`, which cannot sign in by itself. */
export const picture = async (path) =>
  `data:image/svg+xml,${encodeURIComponent((await call("GET", path)).text)}`;
export const post = async (path, body = {}, headers = {}) => (await call("POST", path, body, headers)).json;

const fresh = () => crypto.randomUUID?.() ?? String(Math.random()).slice(2) + Date.now();

/** A POST that may be sent again after a lost answer: same key, one effect. */
export async function postOnce(path, body, name = fresh()) {
  const key = { "idempotency-key": name };
  for (let tries = 0; ; tries++) {
    try {
      return await post(path, body, key);
    } catch (error) {
      const lost = error instanceof Lost || error.status === 503 || error.code === "still_running";
      if (!lost || tries === 4) throw error;
      await new Promise((done) => setTimeout(done, 500 * 2 ** tries));
    }
  }
}

export async function signIn(email, password) {
  const made = await post("/api/sessions", { email, password });
  localStorage.setItem(SESSION, JSON.stringify(made));
}

export async function signUp(email, password, name) {
  await postOnce("/api/accounts", { email, password, name });
  await signIn(email, password);
}

export async function signOut() {
  await call("DELETE", "/api/sessions/current").catch(() => {});
  localStorage.removeItem(SESSION);
}

/** Whether an account was made by `beGuest`. */
export const isGuest = (account) => account.email.endsWith(NOWHERE);

/** Signs in with this browser's throw-away account, made if it is not there. */
export async function beGuest(name) {
  const kept = JSON.parse(localStorage.getItem(GUEST) ?? "null");
  if (kept) {
    try {
      return await signIn(kept.email, kept.password);
    } catch (error) {
      if (error.status !== 401) throw error;
    }
  }
  const secret = () => [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16).padStart(2, "0")).join("");
  const guest = { email: `guest-${secret()}${NOWHERE}`, password: secret() };
  await signUp(guest.email, guest.password, name);
  localStorage.setItem(GUEST, JSON.stringify(guest));
  await topUp();
}

export const topUp = (amount = GUEST_MONEY) => postOnce("/api/wallet/charges", { amount });

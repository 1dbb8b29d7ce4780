// The support socket's client: who waits, who talks and what is said, as it happens.
//
// Owns one WebSocket, its return after a loss, and up to where a talk was heard.
// Never draws anything.

import { session } from "../api.js";

const RETRY_MS = { first: 500, most: 15_000 };
/** The token is not good any more. */
const SIGNED_OUT = 4401;

/**
 * Listens until `signal` aborts: `hear(message)` is called with each message of the
 * server, `lost(is)` when the connection goes and comes, `signedOut()` when the
 * server knows us no more. Returns `say(message)`: whether it is on its way.
 */
export function openLine({ hear, lost, signedOut, signal }) {
  let socket = null;
  let pause = RETRY_MS.first;
  let timer;
  /** The talk that goes on, and its last message heard. */
  let talk = null;

  const say = (message) => {
    if (socket?.readyState !== WebSocket.OPEN) return false;
    socket.send(JSON.stringify(message));
    return true;
  };
  const take = (message) => {
    pause = RETRY_MS.first;
    if (message.type === "matched" && talk?.session_id !== message.session_id) {
      talk = { session_id: message.session_id, after: 0 };
    }
    if (message.type === "ended") talk = null;
    if (message.type === "message" && talk?.session_id === message.session_id) {
      // Heard before: a resume begins where we said, a return without one at the start.
      if (message.id <= talk.after) return;
      talk.after = message.id;
    }
    hear(message);
  };
  const connect = () => {
    const token = session()?.access_token;
    if (!token) return signedOut();
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(`${scheme}//${location.host}/api/support/live`);
    socket.onopen = () => {
      say({ type: "auth", token });
      if (talk) say({ type: "resume", ...talk });
      lost(false);
    };
    socket.onmessage = ({ data }) => take(JSON.parse(data));
    socket.onclose = ({ code }) => {
      socket = null;
      if (signal.aborted) return;
      if (code === SIGNED_OUT) return signedOut();
      lost(true);
      timer = setTimeout(connect, pause * (0.5 + Math.random()));
      pause = Math.min(pause * 2, RETRY_MS.most);
    };
  };
  const again = () => {
    if (socket || signal.aborted) return;
    clearTimeout(timer);
    pause = RETRY_MS.first;
    connect();
  };

  signal.addEventListener("abort", () => { clearTimeout(timer); socket?.close(1000); });
  addEventListener("online", again, { signal });
  document.addEventListener("visibilitychange", () => document.hidden || again(), { signal });
  connect();
  return say;
}

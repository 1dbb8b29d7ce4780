// The support socket's client: who waits, who talks and what is said, as it happens.
//
// Knows up to where a talk was heard. Never draws anything.

import { session } from "../api.js";
import { connect } from "../socket.js";

/** The token is not good any more. */
const SIGNED_OUT = 4401;

/**
 * Listens until `signal` aborts: `hear(message)` is called with each message of the
 * server, `lost(is)` when the connection goes and comes, `signedOut()` when the
 * server knows us no more. Returns `say(message)`: whether it is on its way.
 */
export function openLine({ hear, lost, signedOut, signal }) {
  /** The talk that goes on, and its last message heard. */
  let talk = null;
  let token;

  const socket = connect("/api/support/live", {
    ready() {
      token = session()?.access_token;
      if (!token) signedOut();
      return Boolean(token);
    },
    opened() {
      socket.send({ type: "auth", token });
      if (talk) socket.send({ type: "resume", ...talk });
      lost(false);
    },
    heard(message) {
      socket.well();
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
    },
    closed(code) {
      if (code === SIGNED_OUT) {
        signedOut();
        return false;
      }
      lost(true);
      return true;
    },
    signal,
  });
  return socket.send;
}

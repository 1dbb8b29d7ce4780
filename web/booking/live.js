// The live map's client: what changes at the seats, as it happens.
//
// Knows up to where it heard. Never draws anything.

import { connect } from "./socket.js";

/**
 * Watches an event until `signal` aborts. `snapshot(base64)` is called with how
 * all seats stand, `delta([[id, status], …])` with what changed since;
 * `people(n)` when another number of people looks. Returns `connected()`:
 * whether changes arrive at this moment.
 */
export function watch(eventId, { snapshot, delta, people, signal }) {
  let version = null;
  const take = {
    snapshot(message) {
      version = message.version;
      snapshot(message.seats);
    },
    delta(message) {
      version = message.to;
      delta(message.seats);
    },
    presence: (message) => people(message.active),
  };
  const socket = connect(`/api/events/${eventId}/live`, {
    opened() {
      socket.well();
      if (version !== null) socket.send({ type: "resume", version });
    },
    heard: (message) => take[message.type]?.(message),
    signal,
  });
  return { connected: () => socket.isOpen() && version !== null };
}

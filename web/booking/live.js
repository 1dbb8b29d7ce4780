// The live map's client: what changes at the seats, as it happens.
//
// Owns one WebSocket and its return after a loss. Never draws anything.

const RETRY_MS = { first: 500, most: 15_000 };

/**
 * Watches an event until `signal` aborts. `snapshot(base64)` is called with how
 * all seats stand, `delta([[id, status], …])` with what changed since;
 * `people(n)` when another number of people looks. Returns `connected()`:
 * whether changes arrive at this moment.
 */
export function watch(eventId, { snapshot, delta, people, signal }) {
  let socket = null;
  let version = null;
  let pause = RETRY_MS.first;
  let timer;

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

  const connect = () => {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(`${scheme}//${location.host}/api/events/${eventId}/live`);
    socket.onopen = () => {
      pause = RETRY_MS.first;
      if (version !== null) socket.send(JSON.stringify({ type: "resume", version }));
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      take[message.type]?.(message);
    };
    socket.onclose = () => {
      socket = null;
      if (signal.aborted) return;
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
  return { connected: () => socket?.readyState === WebSocket.OPEN && version !== null };
}

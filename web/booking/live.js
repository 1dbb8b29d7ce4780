// The live map's client: what changes at the seats, as it happens.
//
// Owns one WebSocket and its return after a loss. Never draws anything.

const STATUSES = ["AVAILABLE", "HELD", "SOLD"];
const RETRY_MS = { first: 500, most: 15_000 };

/** The status of seat `i` in a snapshot: two bits a seat, the low ones first. */
const statusIn = (bytes, i) => STATUSES[(bytes.charCodeAt(i >> 2) >> (2 * (i % 4))) & 3];

/**
 * Watches an event until `signal` aborts. `seats` gives the list of seats as it is
 * known; `apply(seats)` is called with what changed, each as `{i, status}`;
 * `reload()` when the list itself no longer fits; `people(n)` with how many look.
 * Returns `connected()`: whether changes arrive at this moment.
 */
export function watch(eventId, { seats, apply, reload, people, signal }) {
  let socket = null;
  let version = null;
  let pause = RETRY_MS.first;
  let timer;

  const take = {
    snapshot(message) {
      const bytes = atob(message.seats);
      const list = seats();
      version = message.version;
      if (bytes.length !== Math.ceil(list.length / 4)) return reload();
      apply(list.map((_, i) => ({ i, status: statusIn(bytes, i) })));
    },
    delta(message) {
      const at = new Map(seats().map((seat, i) => [seat.id, i]));
      version = message.to;
      if (message.seats.some(([id]) => !at.has(id))) return reload();
      apply(message.seats.map(([id, status]) => ({ i: at.get(id), status })));
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

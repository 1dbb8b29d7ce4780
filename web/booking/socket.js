// A WebSocket to the office that comes back after a loss. Never draws anything.

const RETRY_MS = { first: 500, most: 15_000 };

/**
 * Stays connected to `path` until `signal` aborts. `opened()` is called with each
 * new connection, `heard(message)` with each message, `closed(code)` after a loss,
 * `ready()` before each try; when one of these two answers false, it is over.
 * Returns `send(message)`: whether it is on its way; `isOpen()`; and `well()`, to be
 * called when a connection is seen to work: only then is the next pause a short one.
 */
export function connect(path, { opened, heard, closed = () => true, ready = () => true, signal }) {
  let socket = null;
  let pause = RETRY_MS.first;
  let timer;

  const isOpen = () => socket?.readyState === WebSocket.OPEN;
  const well = () => { pause = RETRY_MS.first; };
  const send = (message) => {
    if (!isOpen()) return false;
    socket.send(JSON.stringify(message));
    return true;
  };
  const open = () => {
    if (!ready()) return;
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(`${scheme}//${location.host}${path}`);
    socket.onopen = opened;
    socket.onmessage = ({ data }) => heard(JSON.parse(data));
    socket.onclose = ({ code }) => {
      socket = null;
      if (signal.aborted || !closed(code)) return;
      timer = setTimeout(open, pause * (0.5 + Math.random()));
      pause = Math.min(pause * 2, RETRY_MS.most);
    };
  };
  const again = () => {
    if (socket || signal.aborted) return;
    clearTimeout(timer);
    well();
    open();
  };

  signal.addEventListener("abort", () => { clearTimeout(timer); socket?.close(1000); });
  addEventListener("online", again, { signal });
  document.addEventListener("visibilitychange", () => document.hidden || again(), { signal });
  open();
  return { send, isOpen, well };
}

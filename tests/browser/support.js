// What the browser tests share: a demo of their own on free ports, and pages.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const BINARY = process.env.USHER_BINARY
  ?? fileURLToPath(new URL("../../target/debug/usher", import.meta.url));
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** A port that is free, below those the system gives to outgoing connections. */
async function freePort() {
  for (;;) {
    const port = 22_000 + Math.floor(Math.random() * 10_000);
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await once(server, "listening").then(() => true, () => false);
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}

/** Waits until `check` answers something true, at most a minute. */
export async function until(what, check) {
  for (let tries = 0; tries < 1200; tries++) {
    const answer = await check().catch(() => false);
    if (answer) return answer;
    await sleep(50);
  }
  throw new Error(`waited in vain: ${what}`);
}

/** A demo on free ports; `settings` are environment overrides. */
export async function startDemo(settings = {}, token = "") {
  for (let tries = 0; tries < 5; tries++) {
    const demo = await tryDemo(settings, token);
    if (demo !== null) return demo;
  }
  throw new Error("the demo ends at once");
}

/** `null` when it ended before it was ready: somebody else took a port. */
async function tryDemo(settings, token) {
  const [gate, admin, office] = [await freePort(), await freePort(), await freePort()];
  const demo = spawn(BINARY, ["demo"], {
    stdio: ["ignore", "ignore", "inherit"],
    env: {
      ...process.env,
      USHER__LOG__LEVEL: "warn",
      USHER__GATE__LISTEN: `127.0.0.1:${gate}`,
      USHER__ADMIN__LISTEN: `127.0.0.1:${admin}`,
      USHER__BOOKING__LISTEN: `127.0.0.1:${office}`,
      USHER__ROOM__MAIN__UPSTREAMS: `["http://127.0.0.1:${office}"]`,
      // Nobody loses place or turn to the time a slow browser takes.
      USHER__ROOM__MAIN__IDLE_TIMEOUT: "1h",
      USHER__ROOM__MAIN__CLAIM_WINDOW: "10m",
      ...settings,
    },
  });
  const act = (name, body = {}) => fetch(`http://127.0.0.1:${admin}/admin/v1/rooms/main/${name}`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  });
  const readiness = async () => demo.exitCode !== null || (await fetch(`http://127.0.0.1:${admin}/readyz`)).ok;
  await until("the demo is ready", readiness);
  if (demo.exitCode !== null) return null;
  return {
    url: `http://127.0.0.1:${gate}`,
    office: `http://127.0.0.1:${office}`,
    pause: () => act("pause"),
    resume: () => act("resume"),
    open: () => act("open"),
    close: () => act("close"),
    remove: (place) => fetch(`http://127.0.0.1:${admin}/admin/v1/rooms/main/places/${place}`, { method: "DELETE" }),
    admin: `http://127.0.0.1:${admin}`,
    office: `http://127.0.0.1:${office}`,
    room: async () => (await fetch(`http://127.0.0.1:${admin}/admin/v1/rooms/main`)).json(),
    stop: async () => {
      demo.kill("SIGTERM");
      await once(demo, "exit");
    },
  };
}

/** People who stand in line before the browser does. */
export async function crowd(url, people) {
  const visitors = [];
  for (let i = 0; i < people; i++) {
    const headers = { "usher-client": "token" };
    const first = await (await fetch(`${url}/queue/status`, { headers })).json();
    headers["usher-visitor-token"] = first.visitor_token;
    await fetch(`${url}/queue/join`, { method: "POST", headers });
    visitors.push(headers);
  }
  return visitors;
}

const AXE = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

/** What axe-core finds serious or critical on a page: a rule and what it is about, each. */
export async function seriousFindings(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  return serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

/** Whether a page is wider than its window. */
export const overflows = (page) => page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);

export function launch() {
  return chromium.launch({
    executablePath: CHROMIUM,
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
  });
}

/** The first whole number in a text, written in any of our languages. */
export function number(text) {
  const digits = text.replace(/[^\d]/g, "");
  return digits === "" ? null : Number(digits);
}

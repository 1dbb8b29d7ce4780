"""A whole line that polls at the pace it is told: what Redis has to do for it."""

import time

from measure import cpu_seconds, wrk
from redis_side import Redis
from servers import PACED

# Who is far back is told to come again in about so many seconds.
PACE = 30
CONNECTIONS = 100


def paced(bench):
    """Everybody asks once in the longest pause, through one gate; default idle timeout."""
    size, (pid, port) = bench.options.waiting, bench.servers.redis()
    idle = idle_cpu(Redis(port))
    gate = bench.servers.gate(bench.app, port, PACED)
    poll(gate, size, 2 * PACE)  # they join, and their first signs of life go out
    redis, before = Redis(port), cpu_seconds(pid)
    commands = redis.commands()
    polls = poll(gate, size, 2 * PACE)
    cost = (cpu_seconds(pid) - before) * 1e6 / polls
    each = (redis.commands() - commands) / polls
    if (waiting := gate.waiting("paced")) < size * 0.99:
        raise SystemExit(f"{waiting} wait of {size}")
    what = f"Redis CPU that a poll adds, {size:,} polling once in {PACE} s"
    own = idle * 2 * PACE * 1e6 / polls
    beside = (
        f"{cost:.2f} µs in all, a Redis that does nothing {own:.2f} µs;"
        f" {polls / (2 * PACE):,.0f} polls/s, {each:.2f} commands each"
    )
    bench.table.row(what, f"{cost - own:.2f} µs", beside, target="≤ 0.5 µs")


def idle_cpu(redis, seconds=10):
    """What a Redis nobody talks to takes of a core."""
    before = redis.cpu_seconds()
    time.sleep(seconds)
    return (redis.cpu_seconds() - before) / seconds


def poll(gate, size, seconds):
    """Polls of the whole crowd in turn, evenly in time; how many there were."""
    pause_ms = round(CONNECTIONS * PACE * 1_000 / size)
    args = ("/queue/status?room=paced", "paced.test", "paced-crowd-", size, pause_ms)
    return wrk(gate.port, "paced.lua", *map(str, args), seconds=seconds, connections=CONNECTIONS)[0]

"""The gate that one writes first: a Redis script for each poll."""

import os
import time

from measure import Subject, interleave
from redis_side import Redis

PAGE = 10_000


def naive(bench):
    """What its polls cost it and Redis, with a line as long as the gate's."""
    pid, port = bench.servers.redis()
    names = line(Redis(port), bench.options.waiting)
    gate, its_port = bench.servers.reference("naive-gate", port)
    few = [names[i] for i in range(0, len(names), max(1, len(names) // bench.options.visitors))]
    cookies = bench.servers.write("naive", "".join(f"visitor={name}\n" for name in few))
    args = ("/queue/status", "wait.test", cookies)
    own = Subject(f"naive gate, a Redis script for each poll, {bench.options.waiting:,} waiting", gate, its_port, *args)
    its_redis = Subject("Redis", pid, its_port, *args)
    reference = Subject("nginx `return 200`", *bench.reference, *args)
    interleave([reference, own, its_redis], bench.options.rounds, bench.options.seconds)
    bench.table.beside(own, reference)
    bench.table.row("its Redis, per poll", f"{its_redis.cost:.1f} µs")


def line(redis, size):
    """Fills a line of visitors who were just seen; their names."""
    names = [os.urandom(11).hex() for _ in range(size)]
    now = int(time.time() * 1e3) + 3_600_000
    for start in range(0, size, PAGE):
        part = names[start : start + PAGE]
        redis.ask("ZADD", "waiting", *(word for i, name in enumerate(part, start) for word in (i, name)))
        redis.ask("ZADD", "seen", *(word for name in part for word in (now, name)))
    return names

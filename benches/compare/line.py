"""What a long line costs Redis and a gate. Leaves it standing."""

from crowd import fill
from measure import megabytes
from polls import compare_polls
from redis_side import Redis, tick_ms


def line(bench):
    gate, table, size = bench.redis_gate, bench.table, bench.options.line
    redis = Redis(bench.redis_port)
    rate = fill(gate, size)
    table.row("joins at once, Redis store, one gate", f"{rate:,.0f}/s", target="≥ 20,000/s")
    each = (redis.used_memory() - bench.redis_empty) / gate.waiting()
    table.row(f"Redis memory per waiter, {size:,} waiting", f"{each:.0f} B", target="≤ 250 B")
    table.row(f"view of {size:,} places", f"{gate.view_bytes() / 2**20:.2f} MB", target="≤ 8 MB")
    other = bench.servers.gate(bench.app, bench.redis_port)
    cost = f"ready in {other.start_s:.1f} s, {megabytes(other.pid):.0f} MB"
    table.row(f"a gate that starts while {size:,} wait", cost, target="≤ 3 s")
    ticks(bench, redis)
    compare_polls(bench, [(f"`/queue/status`, {size:,} waiting, Redis store", gate)])


def ticks(bench, redis):
    admit, make_room = tick_ms(redis, bench.redis_gate, 1_000, max(10, bench.options.seconds * 3))
    what = f"Redis script time of a tick that admits 1,000 at {bench.options.line:,} waiting"
    beside = f"and giving up 1,000 missed calls {make_room:.1f} ms"
    bench.table.row(what, f"{admit:.1f} ms", beside, target="≤ 10 ms")

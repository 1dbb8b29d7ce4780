"""What a gate takes before it does anything, and for people who keep still."""

from bench import STATUS
from crowd import fill, idle_bytes, visitors
from measure import megabytes


def start(bench):
    gate = bench.servers.gate(bench.app)
    size = bench.options.usher.stat().st_size / 1e6
    cost = f"{gate.start_s * 1e3:.0f} ms"
    bench.table.row("start until ready", cost, f"binary {size:.0f} MB", target="≤ 1 s")
    bench.table.row("resident memory after start", f"{megabytes(gate.pid):.1f} MB", target="≤ 40 MB")


def idle(bench):
    """Memory of people who wait between two polls."""
    count, gate = bench.options.connections, bench.servers.gate(bench.app)
    fill(gate, 1_000)  # so that the one who asks is not the next to be let in
    [cookie] = visitors(gate, 1, "wait.test", "wait", "waiting", "place")
    usher = idle_bytes(gate.pid, gate.port, STATUS, "wait.test", cookie, count) / 1024
    nginx = idle_bytes(*bench.reference, STATUS, "wait.test", cookie, count) / 1024
    what = f"memory per idle keep-alive waiter, {count:,} held open"
    bench.table.row(what, f"{usher:.1f} KB", f"nginx {nginx:.1f} KB", target="≤ 24 KB")

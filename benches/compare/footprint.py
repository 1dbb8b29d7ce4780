"""What a gate takes before it does anything, and for people who keep still."""

from bench import STATUS
from crowd import anybody, fill, idle_bytes, visitors
from measure import megabytes
from servers import ANSWERS


def start(bench):
    gate = bench.servers.gate(bench.app)
    size = bench.options.usher.stat().st_size / 1e6
    cost = f"{gate.start_s * 1e3:.0f} ms"
    bench.table.row("start until ready", cost, f"binary {size:.0f} MB", target="≤ 1 s")
    bench.table.row("resident memory after start", f"{megabytes(gate.pid):.1f} MB", target="≤ 40 MB")


def idle(bench):
    """Memory of people who wait between two polls."""
    count, servers = bench.options.connections, bench.servers
    gate = servers.gate(bench.app)
    fill(gate, 1_000)  # so that the one who asks is not the next to be let in
    [cookie] = visitors(gate, 1, "wait.test", "wait", "waiting", "place")

    def kilobytes(pid, port, cookie=cookie, tls=None):
        return idle_bytes(pid, port, STATUS, "wait.test", cookie, count, tls) / 1024

    servers_asked = (gate.pid, gate.port), bench.reference, bench.pingora
    usher, nginx, pingora = (kilobytes(*server) for server in servers_asked)
    beside = f"nginx {nginx:.1f} KB, pingora-proxy {pingora:.1f} KB"
    what = f"memory per idle keep-alive waiter, {count:,} held open"
    bench.table.row(what, f"{usher:.1f} KB", beside, target="≤ 24 KB")
    secret, tls = servers.gate(bench.app, tls=True), anybody()
    visitors(secret, 1, "wait.test", "wait", "admitted", "pass", tls)  # so that the next one waits
    [cookie] = visitors(secret, 1, "wait.test", "wait", "waiting", "place", tls)
    usher = kilobytes(secret.pid, secret.port, cookie, tls)
    nginx = kilobytes(*servers.nginx(ANSWERS, tls=True), cookie, tls)
    bench.table.row("the same over TLS", f"{usher:.1f} KB", f"nginx {nginx:.1f} KB")

"""Requests with a pass, beside proxies that check nothing."""

from measure import Subject, interleave
from servers import FORWARDS


def forwards(bench):
    """All before the same app."""
    gate, servers, app = bench.memory_gate, bench.servers, bench.app
    cookies = bench.cookies(gate, 100, "pass.test", "pass", "admitted", "pass")
    args = ("/", "pass.test", cookies)
    nginx = Subject("nginx `proxy_pass`", *servers.nginx(FORWARDS, app), *args)
    haproxy = Subject("HAProxy, forwarded", *servers.haproxy(app), *args)
    usher = Subject("forwarded with a pass", gate.pid, gate.port, *args)
    interleave([nginx, haproxy, usher], bench.options.rounds, bench.options.seconds)
    bench.table.beside(usher, nginx, "≤ 1.3")
    bench.table.beside(haproxy, nginx)

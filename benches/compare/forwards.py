"""Requests with a pass, beside proxies that check nothing and one that asks first."""

from measure import Subject, interleave
from servers import FORWARDS, SAYS_YES, asks_first


def forwards(bench):
    """All before the same app."""
    gate, servers, app = bench.memory_gate, bench.servers, bench.app
    cookies = bench.cookies(gate, 100, "pass.test", "pass", "admitted", "pass")
    args = ("/", "pass.test", cookies)
    nginx = Subject("nginx `proxy_pass`", *servers.nginx(FORWARDS, app), *args)
    haproxy = Subject("HAProxy, forwarded", *servers.haproxy(app), *args)
    pingora = Subject("pingora-proxy, forwarded", *bench.pingora, *args)
    usher = Subject("forwarded with a pass", gate.pid, gate.port, *args)
    asking = asking_first(servers, app, args)
    interleave([nginx, haproxy, pingora, usher, *asking], bench.options.rounds, bench.options.seconds)
    bench.table.beside(usher, nginx, "≤ 1.3")
    for subject, target in zip(asking, ("≤ 0.3", "")):
        bench.table.beside(usher, subject, target)
    bench.table.beside(haproxy, nginx)
    bench.table.beside(pingora, nginx)


def asking_first(servers, app, args):
    """nginx that asks an auth service about each request; what both cost.

    As its manual has it, with a connection for each question, and with
    connections that are kept. The service is nginx again, that always says yes:
    none costs less.
    """
    service, where = servers.nginx(SAYS_YES)
    kept = f"upstream asked {{ server 127.0.0.1:{where}; keepalive 128; keepalive_requests 1000000000; }}"
    fresh_pid, fresh_port = servers.nginx(asks_first(f"127.0.0.1:{where}", False), app)
    kept_pid, kept_port = servers.nginx(asks_first("asked", True), app, kept)
    return [
        Subject("nginx `auth_request`", (fresh_pid, service), fresh_port, *args),
        Subject("nginx `auth_request`, connections kept", (kept_pid, service), kept_port, *args),
    ]

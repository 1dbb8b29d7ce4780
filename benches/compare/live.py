"""A live map that thousands watch: how late changes come, what a socket weighs."""

from office import rust_rows
from sales import Office, run_sqlite, token

SOCKETS = 5_000
BUYERS = 2_000


def live(bench):
    """One office on one core, holds in Redis; the crowd on the other."""
    servers = bench.servers
    file = servers.scratch / "live.db"
    insert = lambda sql: run_sqlite(file, sql)
    redis = servers.redis()[1]
    office = Office(servers, f"sqlite:{file}", BUYERS, insert, redis, under=["taskset", "-c", "0"])
    tokens = servers.write("live.tokens", "".join(f"{token(n)}\n" for n in range(BUYERS)))
    rust_rows(bench, "live", f"127.0.0.1:{office.port}", office.pid, office.event, SOCKETS, tokens)

"""A live map that thousands watch: how late changes come, what a socket weighs."""

import os
import signal

from measure import wait_for
from office import rust_rows
from sales import Office, run_sqlite
from servers import answers

SOCKETS = 5_000
ONE_CORE = ["taskset", "-c", "0"]


def live(bench):
    """One office on one core, holds in Redis, where others change the seats."""
    servers = bench.servers
    file = servers.scratch / "live.db"
    redis = servers.redis()[1]
    office = Office(servers, f"sqlite:{file}", 1, lambda sql: run_sqlite(file, sql), redis, under=ONE_CORE)
    # Anew: what making the hall took would hide what sockets take.
    os.kill(office.pid, signal.SIGTERM)
    wait_for(lambda: not answers(office.port), "the office has ended")
    command = [*ONE_CORE, servers.usher, "booking", "--config", office.settings]
    where = f"127.0.0.1:{office.port}", servers.start(command, office.port), office.event
    rust_rows(bench, "live", *where, SOCKETS, f"redis://127.0.0.1:{redis}")

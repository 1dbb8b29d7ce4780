"""The booking office: its inner parts, whose rows `cargo bench` prints."""

import json
import os
import subprocess

from measure import HERE


def seats(bench):
    """Seats chosen for a party: how fast, and how well beside the naive way."""
    rust_rows(bench, "best", "quality")


def holds(bench):
    """Holds in Redis beside bare calls of the same script."""
    rust_rows(bench, "holds", f"redis://127.0.0.1:{bench.servers.redis()[1]}")


def rust_rows(bench, *subjects):
    """Rows of `benches/booking`, which cargo builds if it must."""
    command = [os.environ.get("CARGO", "cargo"), "bench", "--locked", "--bench", "booking", "--", *map(str, subjects)]
    out = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, text=True, check=True).stdout
    for line in out.splitlines():
        bench.table.row(**json.loads(line))

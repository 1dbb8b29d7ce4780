"""What a process cost: CPU and memory from /proc, requests from wrk.

CPU per request is user and system time of the process and its children,
after minus before, over the requests that wrk completed meanwhile.
"""

import os
import re
import statistics
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")


def family(pid):
    """The process and its children, theirs included."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid] + [one for child in children for one in family(int(child))]


def cpu_seconds(pid):
    total = 0
    for member in family(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_bytes(pid):
    text = "".join(Path(f"/proc/{member}/status").read_text() for member in family(pid))
    return sum(int(kb) for kb in re.findall(r"^VmRSS:\s+(\d+) kB", text, re.M)) * 1024


def megabytes(pid):
    return resident_bytes(pid) / 2**20


def together(pids):
    """CPU seconds of several processes."""
    return sum(cpu_seconds(pid) for pid in pids)


def wrk(port, script, *args, seconds, connections=64):
    """Requests completed and requests per second; every answer must be a 2xx."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", HERE / script]
    command += [f"http://127.0.0.1:{port}", "--", *args]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(f"unexpected answers from port {port}:\n{out}")
    return int(re.search(r"(\d+) requests in", out)[1]), float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])


class Subject:
    """One server under one kind of request; collects µs of CPU per request.

    A server that asks another about each request costs what both do: `pid` may
    be several.
    """

    def __init__(self, name, pid, port, *args):
        self.name, self.port, self.args = name, port, args
        self.pids = [pid] if isinstance(pid, int) else list(pid)
        self.costs, self.rates = [], []

    def run(self, seconds, keep=True):
        before = together(self.pids)
        requests, rate = wrk(self.port, "poll.lua", *self.args, seconds=seconds)
        cost = (together(self.pids) - before) * 1e6 / requests
        if keep:
            self.costs.append(cost)
            self.rates.append(rate)

    @property
    def cost(self):
        return statistics.median(self.costs)

    @property
    def rate(self):
        return statistics.median(self.rates)


def interleave(subjects, rounds, seconds):
    """Runs all subjects in turn, so that a noisy moment hits each of them."""
    for subject in subjects:
        subject.run(1, keep=False)
    for _ in range(rounds):
        for subject in subjects:
            subject.run(seconds)


def wait_for(condition, what, limit=30):
    """Waits until `condition()` is true; answers the seconds it took."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > limit:
            raise SystemExit(f"waited {limit} s in vain: {what}")
        time.sleep(0.002)
    return time.monotonic() - started

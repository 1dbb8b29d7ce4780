"""`/queue/status` of people who wait, beside servers that answer by themselves."""

from bench import STATUS
from crowd import fill
from measure import Subject, interleave


def polls(bench):
    """In memory and over Redis, with a line of the usual length."""
    gates = []
    for store, gate in (("memory", bench.memory_gate), ("Redis", bench.redis_gate)):
        fill(gate, bench.options.waiting)
        gates.append((f"`/queue/status`, {bench.options.waiting:,} waiting, {store} store", gate))
    compare_polls(bench, gates)


def compare_polls(bench, gates):
    """Rows for (name, gate) pairs that poll at the same time."""
    pid, port = bench.reference
    subjects = []
    for name, gate in gates:
        cookies = bench.cookies(gate, bench.options.visitors, "wait.test", "wait", "waiting", "place")
        subjects.append(Subject(name, gate.pid, gate.port, STATUS, "wait.test", cookies))
    nginx = Subject("nginx `return 200`", pid, port, STATUS, "wait.test", cookies)
    interleave([nginx, *subjects], bench.options.rounds, bench.options.seconds)
    for subject in subjects:
        bench.table.beside(subject, nginx, "≤ 1.3")

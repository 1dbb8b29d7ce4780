"""Whether a second thread brings as much again."""

from bench import STATUS
from crowd import fill
from measure import Subject, interleave
from servers import ANSWERS


def threads(bench):
    """Polls at one thread and at two.

    The load generator and the gate share this machine's cores: what two threads
    bring is bounded by the CPU time that is left. So the ratio is that of the
    throughput for the CPU time used, twice for two threads: what two cores of
    their own would bring. The plain throughputs stand beside it, and nginx's ratio:
    where two busy cores slow each other down, it has that too.
    """
    subjects = []
    for count in (1, 2):
        gate = bench.servers.gate(bench.app, threads=count)
        fill(gate, 10_000)
        cookies = bench.cookies(gate, bench.options.visitors, "wait.test", "wait", "waiting", "place")
        subjects.append(Subject(f"{count} threads", gate.pid, gate.port, STATUS, "wait.test", cookies))
    for count in (1, 2):
        pid, port = bench.servers.nginx(ANSWERS, workers=count)
        subjects.append(Subject(f"nginx, {count} workers", pid, port, STATUS, "wait.test", cookies))
    interleave(subjects, bench.options.rounds, bench.options.seconds)
    one, two, nginx, nginx_two = subjects
    bench.table.row(
        "`/queue/status` with 2 threads against 1, for the same CPU time (the generator shares the cores)",
        f"{two.cost:.1f} µs, {two.rate:,.0f}/s",
        f"1 thread {one.cost:.1f} µs, {one.rate:,.0f}/s; nginx the same {brings(nginx, nginx_two):.2f}",
        f"{brings(one, two):.2f}",
        "≥ 1.7",
    )


def brings(one, two):
    """What two threads bring for the CPU time that one takes."""
    return 2 * one.cost / two.cost

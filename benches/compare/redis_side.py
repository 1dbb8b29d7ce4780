"""What a line costs Redis: memory for a waiter, script time for a tick."""

import socket
import statistics
import time
from collections import defaultdict


class Redis:
    """Just enough of the protocol to ask for figures."""

    def __init__(self, port):
        self.stream = socket.create_connection(("127.0.0.1", port)).makefile("rwb")

    def ask(self, *words):
        words = [str(word).encode() for word in words]
        self.stream.write(b"*%d\r\n" % len(words))
        for word in words:
            self.stream.write(b"$%d\r\n%s\r\n" % (len(word), word))
        self.stream.flush()
        return self.reply()

    def reply(self):
        kind, rest = (line := self.stream.readline().rstrip())[:1], line[1:]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        if kind == b"$":
            return self.stream.read(int(rest) + 2)[:-2].decode(errors="replace") if int(rest) >= 0 else None
        if kind == b"-":
            raise SystemExit(f"redis: {rest.decode()}")
        return int(rest) if kind == b":" else rest.decode()

    def figure(self, section, name):
        info = dict(line.split(":", 1) for line in self.ask("INFO", section).split("\r\n") if ":" in line)
        return float(info[name])

    def used_memory(self):
        return self.figure("memory", "used_memory")

    def cpu_seconds(self):
        """Its own account, in microseconds where /proc counts hundredths."""
        return self.figure("cpu", "used_cpu_user") + self.figure("cpu", "used_cpu_sys")

    def commands(self):
        """Commands so far, those that scripts ran included."""
        return self.figure("stats", "total_commands_processed")


# Words of a call beside its keys: verb, hash, number of keys, time.
BARE = 4


def tick_ms(redis, gate, batch, seconds):
    """Script time of ticks of `batch`: medians of (admit, make room).

    Calls are never claimed, so once the claim window has passed each tick also
    gives up a batch of them, in a script of its own: the dearest tick there is.
    Scripts that took under half a millisecond had nothing to do and are left out.
    """
    gate.ask("/admin/v1/rooms/wait", "PATCH", {"capacity": batch * 1_000, "batch": batch})
    time.sleep(7)  # past the claim window
    redis.ask("CONFIG", "SET", "slowlog-max-len", 100_000)
    redis.ask("CONFIG", "SET", "slowlog-log-slower-than", 500)
    redis.ask("SLOWLOG", "RESET")
    time.sleep(seconds)
    entries = redis.ask("SLOWLOG", "GET", -1)
    gate.ask("/admin/v1/rooms/wait", "PATCH", {"capacity": 1})
    others, make_room = defaultdict(list), []
    for entry in entries:
        if entry[3][0].upper() in ("EVALSHA", "EVAL"):
            # Admitting is told what its gate knew of the line, too, as is reading the log.
            told = len(entry[3]) - int(entry[3][2]) - BARE
            (others[entry[3][1]] if told else make_room).append(entry[2] / 1_000)
    admit = max(others.values(), key=max)
    # Between two ticks it is asked as well: on a slow host that takes its time, too.
    ticks = [took for took in admit if took > max(admit) / 4]
    return statistics.median(ticks), statistics.median(make_room)

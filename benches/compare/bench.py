"""What measurements share: options, the table, and servers started when first asked for."""

from functools import cached_property

from crowd import visitors
from postgres import Postgres
from redis_side import Redis
from servers import ANSWERS, free_port

STATUS = "/queue/status?room=wait"


class Bench:
    """One run. A server that several measurements use is a property here."""

    def __init__(self, options, table, servers):
        self.options, self.table, self.servers = options, table, servers

    @cached_property
    def reference(self):
        """nginx that answers by itself: (pid, port)."""
        return self.servers.nginx(ANSWERS)

    @cached_property
    def app(self):
        """The port of the app behind everything that forwards."""
        return self.servers.nginx(ANSWERS)[1]

    @cached_property
    def redis(self):
        """The Redis of all gates: (pid, port)."""
        return self.servers.redis()

    @property
    def redis_port(self):
        return self.redis[1]

    @cached_property
    def pingora(self):
        """pingora-proxy before the app: (pid, port)."""
        return self.servers.reference("pingora-proxy-reference", self.app)

    @cached_property
    def postgres(self):
        return Postgres(self.servers, free_port())

    @cached_property
    def memory_gate(self):
        """A gate whose line is in memory."""
        return self.servers.gate(self.app)

    @cached_property
    def redis_gate(self):
        """A gate whose line is in Redis; remembers what Redis weighed before."""
        gate = self.servers.gate(self.app, self.redis_port)
        self.redis_empty = Redis(self.redis_port).used_memory()
        return gate

    def cookies(self, gate, count, *wanted):
        """A file of Cookie headers; `wanted` as for `visitors`."""
        name = f"{wanted[1]}-{gate.port}"
        return self.servers.write(name, "\n".join(visitors(gate, count, *wanted)) + "\n")

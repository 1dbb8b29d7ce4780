"""Visitors: some with real cookies, a whole line without, and idle ones."""

import http.client
import json
import resource
import socket
import ssl
import time

from measure import resident_bytes, wrk


class Visitor:
    """A browser that keeps its cookies and asks until it is where it wants to be."""

    def __init__(self, connection, host, room):
        self.connection, self.host, self.room, self.cookies = connection, host, room, {}

    def call(self, method, path):
        headers = {"Host": self.host, "Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        self.connection.request(method, f"{path}?room={self.room}", headers=headers)
        answer = self.connection.getresponse()
        for line in answer.headers.get_all("Set-Cookie") or []:
            name, value = line.split(";")[0].split("=", 1)
            self.cookies[name] = value
        return json.loads(answer.read())["state"]

    def until(self, state, cookie):
        """The Cookie header of a visitor in this state that has this cookie."""
        name = f"usher_{cookie}_{self.room}"
        self.call("POST", "/queue/join")
        while self.call("GET", "/queue/status") != state or not self.cookies.keys() & {name, f"__Host-{name}"}:
            time.sleep(0.02)
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())


def visitors(gate, count, host, room, state, cookie, tls=None):
    """Cookie headers of `count` visitors; `tls`: what to believe."""
    connection = http.client.HTTPConnection("127.0.0.1", gate.port)
    if tls:
        connection = http.client.HTTPSConnection("127.0.0.1", gate.port, context=tls)
    return [Visitor(connection, host, room).until(state, cookie) for _ in range(count)]


def fill(gate, size):
    """Joins until `size` wait; answers joins per second, over the last burst."""
    seconds, burst, rate = 1, 0, 0.0
    while (left := size - gate.waiting()) > 0:
        if rate:
            seconds = max(1, min(20, round(left / rate)))
        burst += 1
        args = ("/queue/join?room=wait", "wait.test", f"crowd-{size}-{burst}-")
        _, rate = wrk(gate.port, "join.lua", *args, seconds=seconds, connections=512)
        time.sleep(0.6)  # the gate reads the line's length with its next look at the store
    return rate


def anybody():
    """Believes any certificate: what it costs to serve is measured, not who serves."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def idle_bytes(pid, port, path, host, cookie, count, tls=None):
    """Resident memory for each of `count` connections that asked once and keep still."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n".encode()

    def ask():
        connection = socket.create_connection(("127.0.0.1", port))
        if tls:
            connection = tls.wrap_socket(connection)
        connection.sendall(head)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"port {port} answered {answer.status} to {host}{path}")
        return connection

    connections = [ask() for _ in range(100)]  # what the first few cost is the process's own
    before = resident_bytes(pid)
    connections += [ask() for _ in range(count)]
    cost = (resident_bytes(pid) - before) / count
    for connection in connections:
        connection.close()
    return cost

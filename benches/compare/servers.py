"""The servers that are compared, each on a free loopback port of its own.

Everything they write is in one scratch folder that goes with the run.
"""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from functools import cached_property

from measure import wait_for
from postgres import binaries

REFERENCES = ["pingora-proxy-reference", "naive-gate"]
NEEDED = {command: command for command in ("nginx", "haproxy", "wrk", "redis-server", "openssl")}

NGINX = """
daemon off; worker_processes {workers}; worker_rlimit_nofile 20000; pid {scratch}/nginx.pid; error_log stderr crit;
events {{ worker_connections 16000; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600;
  client_body_temp_path {scratch}; proxy_temp_path {scratch}; fastcgi_temp_path {scratch};
  uwsgi_temp_path {scratch}; scgi_temp_path {scratch};
  upstream app {{ server 127.0.0.1:{app}; keepalive 128; keepalive_requests 1000000000; }}
  {more}
  server {{ listen 127.0.0.1:{port} {tls} reuseport backlog=4096; {server} }}
}}
"""
ANSWERS = 'location / { default_type text/plain; return 200 "thirty-seven bytes that the app sends"; }'
SAYS_YES = "location / { return 204; }"
FORWARDS = 'location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }'


def asks_first(where, kept):
    """nginx asks at `where` about each request before it forwards it."""
    keep = 'proxy_http_version 1.1; proxy_set_header Connection "";' if kept else ""
    return (
        FORWARDS.replace("{", "{ auth_request /ask;", 1)
        + f" location = /ask {{ internal; proxy_pass http://{where}; proxy_pass_request_body off;"
        + f' proxy_set_header Content-Length ""; {keep} }}'
    )


HAPROXY = """
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout connect 2s
  timeout client 600s
  timeout server 600s
  http-reuse always
frontend crowd
  bind 127.0.0.1:{port}
  default_backend app
backend app
  server app 127.0.0.1:{app}
"""

USHER = """
[gate]
listen = "127.0.0.1:{port}"
threads = {threads}
{tls}
[gate.limits]
idle_timeout = "10m"
[admin]
listen = "127.0.0.1:{admin}"
[store]
{store}
[log]
level = "warn"
"""

ROOMS = """
# Nearly stands still, so that a full line stays full.
[[room]]
name = "wait"
hosts = ["wait.test"]
upstreams = ["http://127.0.0.1:{app}"]
session_header = "Bench-Visitor"
capacity = 1
batch = 1000
idle_timeout = "24h"
claim_window = "5s"
poll = {{ min = "0s" }}

[[room]]
name = "pass"
hosts = ["pass.test"]
upstreams = ["http://127.0.0.1:{app}"]
capacity = 10000
batch = 10000
tick = "100ms"
pass_ttl = "2h"
poll = {{ min = "0s" }}
"""
# Alone in its gate, at the pace that visitors are told; nearly stands still.
PACED = """
[[room]]
name = "paced"
hosts = ["paced.test"]
upstreams = ["http://127.0.0.1:{app}"]
session_header = "Bench-Visitor"
capacity = 1
"""


def missing():
    lacking = [package for command, package in NEEDED.items() if not shutil.which(command)]
    return lacking + ([] if binaries() else ["postgresql"])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# How long a server may take to stop, in seconds.
GRACE = 15


class Servers:
    """Starts servers and stops all of them at the end."""

    def __init__(self, scratch, usher, references):
        self.scratch, self.usher, self.references, self.running = scratch, usher, references, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            process.terminate()
        for process in self.running:
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()  # pingora's own grace is five minutes
                process.wait()

    def start(self, command, port, log=None):
        """Starts what listens on `port`; what it says goes to the log of all, or to its own."""
        stderr = open(log, "a") if log else self.log
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, cwd=self.scratch)
        self.running.append(process)
        wait_for(lambda: answers(port) or process.poll() is not None, f"{command[0]} on port {port}")
        if process.poll() is not None:
            raise SystemExit(f"{command[0]} ended:\n{(self.scratch / 'servers.log').read_text()}")
        return process.pid

    @property
    def log(self):
        return open(self.scratch / "servers.log", "a")

    def write(self, name, text):
        path = self.scratch / name
        path.write_text(text)
        return path

    def nginx(self, server, app=1, more="", tls=False, workers=1):
        port = free_port()
        listen = "ssl" if tls else ""
        if tls:
            cert, key = self.certificate
            more += f"ssl_certificate {cert}; ssl_certificate_key {key};"
        values = {"scratch": self.scratch, "port": port, "app": app, "server": server, "more": more}
        conf = NGINX.format(tls=listen, workers=workers, **values)
        path = self.write(f"nginx-{port}.conf", conf)
        return self.start(["nginx", "-p", str(self.scratch), "-e", "stderr", "-c", path], port), port

    def haproxy(self, app):
        port = free_port()
        path = self.write("haproxy.cfg", HAPROXY.format(port=port, app=app))
        return self.start(["haproxy", "-db", "-f", path], port), port

    def redis(self):
        port = free_port()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", "."]
        return self.start(command, port), port

    def reference(self, name, *args):
        """One of the servers that are built for the comparison."""
        port = free_port()
        return self.start([self.references / name, str(port), *map(str, args)], port), port

    @cached_property
    def certificate(self):
        """A certificate and its key, as PEM files."""
        files = self.scratch / "cert.pem", self.scratch / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-nodes", "-days", "2", "-subj", "/CN=wait.test", "-addext", "subjectAltName=DNS:wait.test"]
        subprocess.run([*command, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
        return files

    def gate(self, app, redis=None, rooms=ROOMS, threads=1, tls=False):
        store = f'kind = "redis"\nurl = "redis://127.0.0.1:{redis}"' if redis else 'kind = "memory"'
        gate = Gate(free_port(), free_port())
        files = 'tls = {{ cert = "{}", key = "{}" }}'.format(*self.certificate) if tls else ""
        ports = {"port": gate.port, "admin": gate.admin, "app": app}
        text = (USHER + rooms).format(**ports, store=store, threads=threads, tls=files)
        path = self.write(f"usher-{gate.port}.toml", text)
        started = time.monotonic()
        gate.pid = self.start([self.usher, "gate", "--config", path], gate.admin)
        wait_for(gate.is_ready, "the gate is ready")
        gate.start_s = time.monotonic() - started
        return gate


class Gate:
    """A running gate and its admin listener."""

    def __init__(self, port, admin):
        self.port, self.admin, self.pid = port, admin, None

    def ask(self, path, method="GET", body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.admin}{path}", method=method, data=body and json.dumps(body).encode()
        )
        with urllib.request.urlopen(request) as answer:
            return answer.read().decode()

    def is_ready(self):
        try:
            return self.ask("/readyz") == "ready\n" and answers(self.port)
        except urllib.error.URLError:
            return False

    def waiting(self, room="wait"):
        return json.loads(self.ask(f"/admin/v1/rooms/{room}"))["waiting"]

    def view_bytes(self):
        name = 'usher_room_view_bytes{room="wait"} '
        return next(int(line[len(name) :]) for line in self.ask("/metrics").splitlines() if line.startswith(name))

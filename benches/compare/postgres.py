"""A PostgreSQL server of one's own, with Debian's settings, and what it was told."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from measure import wait_for

QUIET = dict(stdout=subprocess.DEVNULL, check=True)


def binaries():
    """Where Debian keeps the newest server's programs; none when it is missing."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


class Postgres:
    """Started when made; ends with the other servers."""

    def __init__(self, servers, port):
        self.bin, self.port, self.log = binaries(), port, servers.scratch / "postgres.log"
        # The server refuses to run as root.
        self.user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        data = servers.scratch / "postgres"
        data.mkdir()
        if self.user:
            servers.scratch.chmod(0o755)
            shutil.chown(data, "postgres")
        subprocess.run(self.user + [self.bin / "initdb", "-D", data, "-A", "trust", "-U", "postgres"], **QUIET)
        settings = {"listen_addresses": "127.0.0.1", "log_line_prefix": "%p|", "max_connections": 300}
        command = self.user + [self.bin / "postgres", "-D", data, "-p", str(port), "-k", data]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        servers.start(command, port, self.log)
        wait_for(lambda: self.is_up(), "PostgreSQL takes commands")

    def is_up(self):
        return subprocess.run(self.psql("postgres", "SELECT 1"), capture_output=True).returncode == 0

    def psql(self, database, sql):
        options = ["-qAtX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        return [self.bin / "psql", *options, "-d", database, "-c", sql]

    def run(self, database, sql):
        return subprocess.run(self.psql(database, sql), capture_output=True, text=True, check=True).stdout.strip()

    def url(self, database):
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def tell_all(self, database, whether):
        """Whether the log has every statement of later connections' and these."""
        self.run(database, f"ALTER SYSTEM SET log_statement = '{'all' if whether else 'none'}'")
        self.run(database, "SELECT pg_reload_conf()")

    def copy(self, database, name):
        """A database of that name with the same rows."""
        self.run("postgres", f"CREATE DATABASE {name}")
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        rows = subprocess.run([self.bin / "pg_dump", *where, database], stdout=subprocess.PIPE, check=True).stdout
        subprocess.run([self.bin / "psql", "-qX", *where, name], input=rows, **QUIET)
        self.run(name, "ANALYZE")

    def pgbench(self, database, script, clients, each, first):
        """Transactions a second of the script, run `each` times by every client;
        its variables are client_id, each, first, and i, which is 0."""
        command = [self.bin / "pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", "2"]
        command += ["-t", str(each), "-f", script]
        for name, value in {"i": 0, "each": each, "first": first}.items():
            command += ["-D", f"{name}={value}"]
        command += ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", database]
        out = subprocess.run(command, capture_output=True, text=True)
        rate = re.search(r"tps = ([\d.]+)", out.stdout)
        if out.returncode or not rate or "failed transactions: 0 (" not in out.stdout:
            raise SystemExit(f"pgbench:\n{out.stdout}{out.stderr}")
        return float(rate[1])


def transactions(log):
    """What the log says was run: transactions as lists of (SQL, parameters), a
    statement outside of one as a transaction of itself; in the order of their ends."""
    under_way, ended = {}, []
    for session, sql, values in statements(log):
        if sql == "BEGIN":
            under_way[session] = [(sql, [])]
        elif sql in ("COMMIT", "ROLLBACK"):
            ended.append(under_way.pop(session, []) + [(sql, [])])
        elif session in under_way:
            under_way[session].append((sql, values))
        else:
            ended.append([(sql, values)])
    return ended


def statements(log):
    """(session, SQL, parameters) of each statement in a log."""
    entries = re.split(r"^(\d+)\|", log, flags=re.M)[1:]
    told = list(zip(entries[::2], entries[1::2]))
    for at, (session, text) in enumerate(told):
        ran = re.match(r"LOG:  (?:statement|execute \S+): (.*)", text, re.S)
        if not ran:
            continue
        detail = next((t for s, t in told[at + 1 : at + 20] if s == session), "")
        values = re.findall(r"\$\d+ = ('(?:[^']|'')*'|NULL)", detail) if detail.startswith("DETAIL") else []
        yield session, " ".join(ran[1].split()), values

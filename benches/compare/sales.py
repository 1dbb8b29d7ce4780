"""Whole sales through the office's API: hold, order, pay with points, until PAID.

Beside them pgbench runs what one such sale made PostgreSQL run, as its log has
it: the same statements in the same transactions, with as many clients. What the
office does besides (looking for work, telling the live map) is not in there.
"""

import base64
import hashlib
import hmac
import json
import random
import re
import signal
import sqlite3
import statistics
import subprocess
import time
import urllib.request

from measure import HERE
from postgres import transactions
from servers import free_port

CLIENTS = 16
SECRET = "a secret of this bench, of no use elsewhere"
ADMIN = ("admin@example.org", "the bench's pass phrase")
ROWS, SEATS_OF_A_ROW = 500, 100
BUYERS = ROWS * SEATS_OF_A_ROW // 2
# Sales before any is counted.
SPENT = 40
PRICE = 10

OFFICE = """
[booking]
listen = "127.0.0.1:{port}"
database = "{database}"
jwt_secret = "{secret}"
admin = {{ email = "{admin[0]}", password = "{admin[1]}" }}
{holds}
[log]
level = "warn"
"""

ACCOUNTS = """
INSERT INTO accounts (id, email, name, password_hash, role, language, created_at)
  SELECT {id}, 'buyer' || n || '@example.org', 'Buyer', 'none', 'customer', 'en', 0 FROM buyers;
INSERT INTO wallets (account_id, balance, currency) SELECT {id}, 1000000, 'KRW' FROM buyers;
INSERT INTO ledger (account_id, kind, amount, reference, created_at)
  SELECT {id}, 'CHARGE', 1000000, 'bench', 0 FROM buyers;
"""
SERIES = {
    "sqlite": "WITH RECURSIVE buyers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM buyers WHERE n + 1 < {count})",
    "postgres": "WITH buyers AS (SELECT generate_series(0, {count} - 1) AS n)",
}
ID = {"sqlite": "printf('a%031x', n)", "postgres": "'a' || lpad(to_hex(n), 31, '0')"}


def account(n):
    return f"a{n:031x}"


def token_id(n):
    return f"b{n:031x}"


def token(n):
    """Signed as the office signs; no password has to be hashed."""
    now = int(time.time())
    claims = {"sub": account(n), "jti": token_id(n), "iat": now, "exp": now + 7_000}
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")
    said = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims)
    seal = hmac.new(SECRET.encode(), said, hashlib.sha256).digest()
    return (said + b"." + base64.urlsafe_b64encode(seal).rstrip(b"=")).decode()


class Office:
    """A running office with accounts that can pay, and an event on sale."""

    def __init__(self, servers, database, buyers, insert, redis=None, rows=ROWS, under=()):
        self.port, self.servers = free_port(), servers
        holds = f'holds = "redis"\nredis_url = "redis://127.0.0.1:{redis}"' if redis else ""
        text = OFFICE.format(port=self.port, database=database, secret=SECRET, admin=ADMIN, holds=holds)
        self.settings = servers.write(f"office-{self.port}.toml", text)
        self.pid = servers.start([*under, servers.usher, "booking", "--config", self.settings], self.port)
        kind = database.split(":")[0]
        for statement in ACCOUNTS.format(id=ID[kind]).split(";")[:-1]:
            insert(self.series(kind, buyers, statement))
        self.event = self.on_sale(rows)

    @staticmethod
    def series(kind, buyers, statement):
        head, select = statement.split("SELECT", 1)
        return f"{head} {SERIES[kind].format(count=buyers)} SELECT {select}"

    def ask(self, method, path, body=None, bearer=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", method=method, data=body and json.dumps(body).encode()
        )
        request.add_header("content-type", "application/json")
        if bearer:
            request.add_header("authorization", f"Bearer {bearer}")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def on_sale(self, rows):
        signed_in = self.ask("POST", "/api/sessions", {"email": ADMIN[0], "password": ADMIN[1]})
        section = {"name": "A", "kind": "seated", "price": PRICE}
        section["rows"] = [{"row": str(row + 1), "seats": SEATS_OF_A_ROW} for row in range(rows)]
        event = {"title": "Bench", "venue": "Bench", "currency": "KRW", "sections": [section]}
        event |= {"starts_at": int(time.time() * 1e3) + 10**9, "sale_opens_at": 1}
        made = self.ask("POST", "/api/events", event, signed_in["access_token"])
        return made["id"]

    def sell(self, wishes, clients, seconds):
        """The buyers' wishes, dealt out to as many clients; what came of them."""
        folder = self.servers.scratch / f"buyers-{free_port()}"
        folder.mkdir()
        for client in range(clients):
            lines = [f"{token(n)} {json.dumps(body)}\n" for n, body in wishes[client::clients]]
            (folder / f"{client}.buyers").write_text("".join(lines))
        command = ["wrk", f"-t{clients}", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s"]
        command += ["-s", HERE / "sale.lua", f"http://127.0.0.1:{self.port}", "--"]
        command += [f"/api/events/{self.event}/holds", folder]
        wrk = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        while wrk.poll() is None and len(list(folder.glob("*.over"))) < clients:
            time.sleep(0.05)
        if wrk.poll() is None:
            wrk.send_signal(signal.SIGINT)
        out = wrk.communicate()[0]
        if len(list(folder.glob("*.over"))) < clients:
            raise SystemExit(f"not all buyers had their turn in {seconds} s:\n{out}")
        sales = json.loads(re.search(r"^SALES (.*)$", out, re.M)[1])
        if sales["unexpected"]:
            raise SystemExit(f"unexpected answer: {sales['unexpected']}")
        return sales

    def audit(self):
        """Whether the sweep over the database finds nothing."""
        command = [self.servers.usher, "booking", "audit", "--config", self.settings]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"the audit found something:\n{done.stdout}{done.stderr}")


def pair(n):
    """The n-th two seats of the hall."""
    row, at = divmod(2 * n, SEATS_OF_A_ROW)
    return {"seats": [f"A-{row + 1}-{at + 1}", f"A-{row + 1}-{at + 2}"]}


def sales(bench):
    """Sales a second over both databases, and of bare statements."""
    servers, rounds = bench.servers, bench.options.rounds
    each = bench.options.seconds * 20  # sales of a client in a round; about as many seconds' worth
    postgres = bench.postgres
    postgres.run("postgres", "CREATE DATABASE office")
    file = servers.scratch / "office.db"
    halls = [
        Office(servers, postgres.url("office"), BUYERS, lambda sql: postgres.run("office", sql)),
        Office(servers, f"sqlite:{file}", BUYERS, lambda sql: run_sqlite(file, sql)),
    ]
    script = servers.write("sale.sql", script_of_a_sale(postgres, halls[0]))
    postgres.copy("office", "bare")
    rates, bare = [[] for _ in halls], []
    for turn in range(rounds):
        first = SPENT + turn * each * CLIENTS
        for office, rate in zip(halls, rates):
            sold = office.sell([(n, pair(n)) for n in range(first, first + each * CLIENTS)], CLIENTS, 120)
            if sold["paid"] != each * CLIENTS:
                raise SystemExit(f"not everybody got what they paid for: {sold}")
            rate.append(sold["paid"] / sold["seconds"])
        bare.append(postgres.pgbench("bare", script, CLIENTS, each, first))
    for office in halls:
        office.audit()
    ours, embedded = map(statistics.median, rates)
    reference = statistics.median(bare)
    what = "sales of 2 seats, hold to PAID with points"
    beside = f"pgbench, the same statements, {reference:,.0f}/s"
    table = bench.table
    table.row(f"{what}, PostgreSQL, {CLIENTS} clients", f"{ours:,.0f}/s", beside, f"{ours / reference:.2f}", "≥ 0.6")
    table.row(f"{what}, SQLite file, {CLIENTS} clients", f"{embedded:,.0f}/s", beside, f"{embedded / reference:.2f}")


def buyers(bench):
    """More buyers than seats, each with one wish, through the API: who gets what."""
    count, rows, clients = 10_000, 20, 64
    seats = rows * SEATS_OF_A_ROW
    postgres, redis = bench.postgres, bench.servers.redis()[1]
    postgres.run("postgres", "CREATE DATABASE crowd")
    insert = lambda sql: postgres.run("crowd", sql)
    office = Office(bench.servers, postgres.url("crowd"), count, insert, redis, rows)
    lot = random.Random(1)
    wishes = [(n, {"best": {"count": lot.choice((1, 2, 2, 3, 4))}}) for n in range(count)]
    sold = office.sell(wishes, clients, 600)
    office.audit()
    live = postgres.run("crowd", "SELECT COUNT(*), COUNT(DISTINCT seat_idx) FROM tickets WHERE status = 'VALID'")
    if live != f"{seats}|{seats}" or sold["failed"] or sold["paid"] + sold["refused"] != count:
        raise SystemExit(f"tickets and seats with one: {live} of {seats}; buyers: {sold}")
    took = "SELECT percentile_disc(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY p.finished_at - o.created_at)"
    took = postgres.run("crowd", f"{took} FROM payments p JOIN orders o ON o.id = p.order_id")
    p50, p99 = took.strip("{}").split(",")
    what = f"{count:,} buyers for {seats:,} seats, PostgreSQL and Redis, {clients} at once"
    measured = f"each sold once, in {sold['seconds']:.1f} s"
    beside = f"{sold['paid']:,} paid, order to PAID p50 {p50} ms, p99 {p99} ms; {sold['refused']:,} too late; audit clean"
    bench.table.row(what, measured, beside)


def run_sqlite(file, sql):
    with sqlite3.connect(file, timeout=30) as database:
        database.execute(sql)


def script_of_a_sale(postgres, office):
    """What pgbench has to run for one sale, from the log of one.

    Account, hold, order, payment, seats and tickets are those of a number of its
    own, made in the statement where the log has those of the logged sale.
    """
    for n in range(SPENT - 1):  # layouts are read, statements prepared
        buy(office, n)
    postgres.tell_all("office", True)
    time.sleep(1)  # every connection has read its settings
    before = postgres.log.stat().st_size
    names = buy(office, SPENT - 1)
    time.sleep(1)  # and written its log
    postgres.tell_all("office", False)
    told = postgres.log.read_text()[before:]
    lines = ["\\set i :i + 1", "\\set n :first + :client_id * :each + :i - 1"]
    for transaction in transactions(told):
        values = {value.strip("'") for _, values in transaction for value in values}
        # Each request also looks whether what is known of the event still holds.
        is_look = transaction[0][0].startswith("SELECT layout FROM events")
        if is_look or values & names.keys():
            lines += [f"{with_values(sql, values, names)};" for sql, values in transaction]
    return "\n".join(lines) + "\n"


def buy(office, n):
    """One sale by a buyer who waits before asking; its ids, and pgbench's words for them."""
    bearer, hold = token(n), pair(n)
    held = office.ask("POST", f"/api/events/{office.event}/holds", hold, bearer)
    order = office.ask("POST", "/api/orders", {"hold_id": held["hold_id"]}, bearer)
    paying = {"order_id": order["order_id"], "method": "points"}
    asked = office.ask("POST", "/api/payments", paying, bearer)["request_id"]
    time.sleep(0.5)
    done = office.ask("GET", f"/api/payments/{asked}/status", bearer=bearer)
    if done["status"] != "COMPLETED":
        raise SystemExit(f"a sale without haste came to {done}")
    ids = [account(n), token_id(n), held["hold_id"], order["order_id"], asked]
    ids += [ticket["ticket_id"] for ticket in done["tickets"]]
    words = {one: f"('{letter}' || lpad(to_hex(:n::bigint), 31, '0'))" for one, letter in zip(ids, "abcdefg")}
    seats = {str(2 * n + i): f"(2 * :n::bigint + {i})" for i in (0, 1)}
    return words | seats


def with_values(sql, values, names):
    """The statement with each `$n` replaced by its value, or by pgbench's word for it."""
    def literal(found):
        value = values[int(found[1]) - 1]
        if value == "NULL":
            return value
        bare = value[1:-1]
        if bare in names:
            return names[bare]
        # A colon would begin a variable of pgbench's.
        return bare if re.fullmatch(r"-?\d+", bare) else "U&" + value.replace("\\", "\\\\").replace(":", "\\003A")

    return re.sub(r"\$(\d+)", literal, sql)

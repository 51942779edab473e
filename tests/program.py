"""The real program in a directory of its own, and real clients; shared by the suites that are in Python."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import random
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import duckdb

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "target/release/greyhound"
# The same with places where it dies if FAILPOINT in its environment says so: plugins/activity/src/failpoint.rs.
MORTAL = ROOT / "target/mortal/greyhound"
TOPIC = ROOT / "target/release/examples/topic"
CLIENTS = ROOT / "tests/tables/clients.mjs"
FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
# By how many seconds a clock is off that shows ten past the hour when the tests begin: no hour ends in the midst of a test.
TEN_PAST = 600 - time.time() % 3600
# Below those that the system gives to outgoing connections, so that none takes one before it is bound.
PORTS = iter(random.sample(range(11_000, 32_000), 21_000))
SECRET = "the secret of the tests"
# Topics of which tests publish rows of their own.
OPEN_TOPICS = [f"messaging.{name}" for name in ("connection", "auth", "message", "delivery", "push", "membership", "revocation")]


def until(what, probe, limit=120, despite=()):
    """Polls `probe` until it returns something true. An error of a kind in `despite` means that it is not there yet."""
    deadline = time.monotonic() + limit
    while True:
        last = None
        try:
            if value := probe():
                return value
        except despite as error:
            last = error
        assert time.monotonic() < deadline, f"waited {limit} s in vain for {what}" + (f": {last}" if last else "")
        time.sleep(0.02)


def free_port():
    """A port that nobody uses, another one each time."""
    for port in PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def mint(user, secret=SECRET, **claims):
    """A JWT (HS256) that is good for an hour."""
    part = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    claims = {"id": user, "exp": int(time.time()) + 3600, **claims}
    text = part(b'{"alg":"HS256","typ":"JWT"}') + "." + part(json.dumps(claims).encode())
    return text + "." + part(hmac.digest(secret.encode(), text.encode(), hashlib.sha256))


class NotReady(Exception):
    """Parts that do not work, and why."""


class Greyhound:
    """The program, with everything but ports, secret, freshness and `settings` as it comes: tables in `data/tables`."""

    def __init__(self, home, **settings):
        self.home, self.child, self.command = Path(home), None, [PROGRAM]
        self.settings = settings
        self.port, self.admin = free_port(), free_port()
        self.log = self.home / "log"
        # By how many seconds its clock is off.
        self.clock = 0

    @contextlib.contextmanager
    def hours_ago(self, hours):
        """The program's clock shows an hour that is over."""
        now, self.clock = self.clock, self.clock - hours * 3600
        try:
            yield
        finally:
            self.clock = now

    @property
    def clockwork(self):
        """What makes its clock show that."""
        assert FAKETIME, "libfaketime is missing: tests/run installs it"
        return {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{self.clock:+.0f}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    @property
    def env(self):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("GREYHOUND__") and k != "PORT"}
        return clean | {
            "GREYHOUND__ADMIN__LISTEN": f"127.0.0.1:{self.admin}",
            "GREYHOUND__ADMIN__OPEN_TOPICS": json.dumps(OPEN_TOPICS),
            "GREYHOUND__PLUGINS__MESSAGING__LISTEN": f"127.0.0.1:{self.port}",
            "GREYHOUND__PLUGINS__MESSAGING__AUTH__SECRET": SECRET,
            "GREYHOUND__PLUGINS__ACTIVITY__FRESHNESS": "1s",
        } | (self.clockwork if self.clock else {}) | self.settings

    def start(self):
        self.launch().ready()
        return self

    def launch(self):
        """Starts it, whether or not it gets ready."""
        self.spawn()
        until("the admin listener", lambda: self.parts() is not None)
        return self

    def spawn(self, command=None, **settings):
        with self.log.open("ab") as log:
            env = self.env | settings
            self.child = subprocess.Popen(command or self.command, cwd=self.home, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ready(self):
        """Waits until every part works."""

        def works():
            if parts := self.parts():
                raise NotReady(parts)
            return parts is not None

        until("readiness", works, despite=NotReady)

    def parts(self):
        """The parts that are not ready, and why; None where it does not answer."""
        assert self.child.poll() is None, self.log.read_text()
        url = f"http://127.0.0.1:{self.admin}/readyz"
        try:
            answer = urllib.request.urlopen(url, timeout=5)
        except urllib.error.HTTPError as error:
            answer = error
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None
        return {part: why for part, why in json.load(answer)["parts"].items() if why != "ready"}

    def stop(self):
        """A clean stop, after which everything is in the tables."""
        self.child.send_signal(signal.SIGTERM)
        assert self.child.wait(60) == 0, self.log.read_text()

    def kill(self):
        self.child.kill()
        self.child.wait()

    def topic(self, name):
        """What the admin listener tells of a topic."""
        topics = json.load(urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/v1/topics", timeout=10))
        return next(topic for topic in topics["topics"] if topic["name"] == name)

    def committed(self):
        """How many rows of messaging.push the sink has committed."""
        consumers = self.topic("messaging.push")["consumers"]
        return next((it["position"] for it in consumers if it["name"] == "activity"), 0)

    def publish(self, topic, rows):
        """Appends rows to a topic; the answer comes when they are durable."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin}/v1/topics/{topic}", json.dumps(rows).encode())
        return json.load(urllib.request.urlopen(request, timeout=30))["seq"]

    def metric(self, name, **labels):
        """The sum over all series of that name with those labels."""
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=10).read().decode()
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        series = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.M)
        return sum(float(value) for found, value in series if wanted <= set(found.split(",")))

    def run(self, *args):
        done = subprocess.run([PROGRAM, *args], cwd=self.home, env=self.env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def emit(self, *rooms, event="message", args=("hello",), **more):
        body = json.dumps({"rooms": rooms, "event": event, "args": args} | more).encode()
        url = f"http://127.0.0.1:{self.admin}/v1/messaging/emit"
        request = urllib.request.Request(url, body, {"content-type": "application/json"})
        return json.load(urllib.request.urlopen(request, timeout=30))

    def clients(self):
        """Real clients, driven line by line."""
        return Clients(f"http://127.0.0.1:{self.port}")

    def sql(self):
        """DuckDB with the views that `greyhound tables ddl` prints."""
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(self.ddl("duckdb"))
        return connection

    def ddl(self, dialect):
        return self.run("tables", "ddl", "--dialect", dialect)


def before_data(fields):
    """The columns of a version before the column `data` of `messaging.push` was added."""
    return fields[: [field["name"] for field in fields].index("data")]


class Earlier(Greyhound):
    """An earlier version of the program, as far as `messaging.push` goes: its fields are what `change` makes of today's."""

    def __init__(self, home, change, **settings):
        super().__init__(home, **settings)
        schema = json.loads((ROOT / "schemas/messaging.push.avsc").read_text())
        schema["fields"] = change(schema["fields"])
        file = self.home / "earlier.avsc"
        file.write_text(json.dumps(schema))
        self.command = [TOPIC]
        self.settings["TOPIC_SCHEMA"] = str(file)

    @property
    def env(self):
        return {k: v for k, v in super().env.items() if not k.startswith(("GREYHOUND__PLUGINS__MESSAGING__", "GREYHOUND__ADMIN__OPEN_TOPICS"))}


def questions():
    """The SQL of docs/queries.md, as it stands there: by the word that its comment begins with."""
    blocks = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/queries.md").read_text(), re.S)
    return {re.match(r"-- (\w+):", block)[1]: block for block in blocks}


class Clients:
    """Socket.io clients in a Node process: a JSON command a line, answered by a JSON line."""

    def __init__(self, url):
        self.child = subprocess.Popen(["node", CLIENTS, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **command):
        self.child.stdin.write(json.dumps(command) + "\n")
        self.child.stdin.flush()
        answer = json.loads(self.child.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer

    def login(self, name, user, token=None):
        return self.ask(do="login", name=name, token=token or mint(user))["event"]

    def push(self, name, event, *args):
        return self.ask(do="push", name=name, event=event, args=args)

    def received(self, name, count):
        return self.ask(do="received", name=name, count=count)["messages"]

    def close(self):
        self.child.stdin.close()
        self.child.wait(30)

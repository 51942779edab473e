"""Faults by a seeded schedule, while rows flow."""

import random
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager

from cluster import DATANODES

from program import until

BATCH = 1000


class Wire:
    """A way to a port of this machine that can be cut: what is on it stays, and nothing gets through."""

    def __init__(self, port):
        self.port_behind, self.whole = port, threading.Event()
        self.whole.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.port_behind), 5)
            except OSError:
                if self.listener.fileno() < 0:
                    return
                near.close()
                continue
            far.settimeout(None)
            for ends in [(near, far), (far, near)]:
                threading.Thread(target=self.forward, args=ends, daemon=True).start()

    def forward(self, source, sink):
        with source, sink:
            try:
                while data := source.recv(1 << 16):
                    self.whole.wait()
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.whole.set()
        self.listener.close()


class Flow:
    """Rows of messaging.push at a rate, in batches: each row has the number of its batch and its own in it."""

    def __init__(self, greyhound, rate):
        self.url = f"http://127.0.0.1:{greyhound.admin}/v1/topics/messaging.push"
        self.pause, self.sent, self.acknowledged = BATCH / rate, 0, []
        self.ending = threading.Event()
        self.driver = threading.Thread(target=self.run)

    def __enter__(self):
        self.driver.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.driver.join()

    def run(self):
        due = time.monotonic()
        while not self.ending.is_set():
            self.publish(self.sent)
            self.sent += 1
            # What is late is made up for, but not what a fault of seconds held up.
            due = max(due + self.pause, time.monotonic() - 1)
            self.ending.wait(max(0, due - time.monotonic()))

    def publish(self, batch):
        row = '{"connection_seq":%d,"user_id":"%d","namespace":"/","event":"chaos","size_bytes":%d}'
        body = "[" + ",".join(row % (batch, n % 97, n) for n in range(BATCH)) + "]"
        try:
            urllib.request.urlopen(urllib.request.Request(self.url, body.encode()), timeout=20).read()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return
        self.acknowledged.append(batch)


class Deck:
    """Each of its cards once, in any order, then again."""

    def __init__(self, chance, cards):
        self.chance, self.cards, self.left = chance, cards, []

    def draw(self):
        self.left = self.left or self.chance.sample(self.cards, len(self.cards))
        return self.left.pop()


class Chaos:
    """What can fail, and when it does: with one NameNode, whose way `wire` can be cut."""

    # How many faults there are at the same time.
    at_once = [1, 1, 2]

    def __init__(self, seed, hdfs, greyhound, disk, wire=None):
        self.chance, self.hdfs, self.greyhound, self.disk, self.wire = random.Random(seed), hdfs, greyhound, disk, wire

    @property
    def other_faults(self):
        faults = [self.datanode_killed, self.datanode_paused, self.two_datanodes_killed, self.greyhound_killed, self.greyhound_paused]
        return faults + ([self.disk_full] if self.disk else [])

    @property
    def namenode_faults(self):
        return [self.namenode_killed, self.namenode_paused, self.safe_mode, self.quota, self.network_cut]

    def run(self, seconds):
        """Now one fault, now two at once, each before any comes again; then there is peace for a moment."""
        end = time.monotonic() + seconds
        told = []
        # Of two, one alone is of the NameNode: it cannot be told to leave safe mode while it hangs.
        decks = [Deck(self.chance, self.namenode_faults), Deck(self.chance, self.other_faults)]
        while time.monotonic() < end:
            with ExitStack() as over:
                for deck in self.chance.sample(decks, self.chance.choice(self.at_once)):
                    fault = deck.draw()
                    told.append(fault.__name__)
                    print(f"{end - time.monotonic():7.1f} s left: {fault.__name__}", flush=True)
                    over.enter_context(fault())
                time.sleep(self.chance.uniform(0.2, 8))
            time.sleep(self.chance.uniform(0, 3))
        return told

    @contextmanager
    def killed(self, *nodes):
        nodes = [node for node in nodes if node in self.hdfs.children]
        self.hdfs.kill(*nodes)
        yield
        for node in nodes:
            self.hdfs.launch(node)
        if "nn" in nodes:
            until("the NameNode", lambda: self.hdfs.answers("nn"))

    @contextmanager
    def paused(self, node):
        if node in self.hdfs.children:
            self.hdfs.pause(node)
        yield
        if node in self.hdfs.children:
            self.hdfs.resume(node)

    def datanode_killed(self):
        return self.killed(self.chance.choice(DATANODES))

    def two_datanodes_killed(self):
        return self.killed(*self.chance.sample(DATANODES, 2))

    def datanode_paused(self):
        return self.paused(self.chance.choice(DATANODES))

    def namenode_killed(self):
        return self.killed("nn")

    def namenode_paused(self):
        return self.paused("nn")

    @contextmanager
    def administered(self, begin, end):
        """The NameNode may be away itself, and then does not do as it is told."""
        self.did(begin)
        yield
        until("the NameNode to do as it is told", lambda: self.did(end))

    def did(self, what):
        try:
            what()
        except (OSError, AssertionError, subprocess.SubprocessError):
            return False
        return True

    def safe_mode(self):
        return self.administered(lambda: self.hdfs.safe_mode("enter"), lambda: self.hdfs.safe_mode("leave"))

    def quota(self):
        limit = lambda bytes: self.hdfs.webhdfs(self.greyhound.root, "SETQUOTA", namespacequota=1 << 40, storagespacequota=bytes)
        return self.administered(lambda: limit(1 << 20), lambda: limit(1 << 50))

    @contextmanager
    def network_cut(self):
        self.wire.whole.clear()
        yield
        self.wire.whole.set()

    @contextmanager
    def greyhound_killed(self):
        self.greyhound.kill()
        yield
        # Where the disk is full it may refuse.
        until("Greyhound to start", self.starts)

    def starts(self):
        try:
            return self.greyhound.launch()
        except AssertionError:
            self.greyhound.kill()
            return False

    @contextmanager
    def greyhound_paused(self):
        child = self.greyhound.child
        child.send_signal(signal.SIGSTOP)
        yield
        if child.poll() is None:
            child.send_signal(signal.SIGCONT)

    @contextmanager
    def disk_full(self):
        filler = self.disk / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(1 << 18)):
                    pass
            except OSError:
                pass
        yield
        filler.unlink()


class ChaosOfTwo(Chaos):
    """With two NameNodes, one active. One fault at a time: more leave none to fail over to."""

    at_once = [1]

    @property
    def namenode_faults(self):
        return [self.failed_over, self.active_killed, self.active_paused, self.journalnode_killed]

    @contextmanager
    def failed_over(self):
        # The other one may be on its way back.
        until("a fail-over", lambda: self.did(self.hdfs.fail_over))
        yield

    @contextmanager
    def active_killed(self):
        active = self.hdfs.leader
        self.hdfs.kill(active)
        yield
        self.replace(active)
        self.hdfs.launch(active)

    @contextmanager
    def active_paused(self):
        active = self.hdfs.leader
        self.hdfs.pause(active)
        yield
        self.replace(active)
        self.hdfs.resume(active)
        # It takes itself for active until it writes, and then ends: nobody can fail over to it before it begins anew.
        time.sleep(self.chance.uniform(0, 3))
        self.hdfs.kill(active)
        self.hdfs.launch(active)

    def journalnode_killed(self):
        return self.killed(self.chance.choice(self.hdfs.journalnodes))

    def replace(self, active):
        """The other one takes over, as soon as it can."""
        until("the other NameNode to take over", lambda: self.did(lambda: self.hdfs.take_over(self.hdfs.other(active))), 90)

"""One HDFS for all tests, whole again after each; Greyhound with its tables in a directory of it."""

import re
import shutil
import subprocess
import tempfile
import threading
from contextlib import contextmanager

import duckdb
import pytest
from cluster import Hdfs, Secured

from program import PROGRAM, TEN_PAST, Greyhound, until

USER = "greyhound"


@contextmanager
def running(make, *args):
    """An HDFS of the kind `make`, started."""
    with tempfile.TemporaryDirectory(prefix="greyhound-hdfs-") as home:
        hdfs = make(home, *args)
        try:
            yield hdfs.start()
        finally:
            hdfs.stop()


@contextmanager
def flowing(greyhound, until_killed=False):
    """Rows without a pause, from before to after what is done meanwhile: some are committed before, some appended after."""
    done = threading.Event()

    def publish():
        while not done.is_set():
            try:
                greyhound.push(50)
            except OSError:
                assert until_killed
                return

    before = greyhound.committed()
    driver = threading.Thread(target=publish)
    driver.start()
    try:
        until("a commit", lambda: greyhound.committed() > before)
        yield
        appended = len(greyhound.acknowledged)
        until("more rows", lambda: until_killed or len(greyhound.acknowledged) > appended)
    finally:
        done.set()
        driver.join(60)


@pytest.fixture(scope="session")
def cluster():
    with running(Hdfs) as hdfs:
        yield hdfs


@pytest.fixture
def hdfs(cluster):
    yield cluster
    cluster.heal()


@pytest.fixture
def greyhound(hdfs, request):
    with tempfile.TemporaryDirectory(prefix="greyhound-") as home:
        program = Program(home, hdfs, "/" + re.sub(r"\W+", "-", request.node.name))
        # Kerberos wants all clocks to show the same.
        program.clock = 0 if isinstance(hdfs, Secured) else TEN_PAST
        try:
            yield program
        finally:
            program.end()


class Program(Greyhound):
    """Greyhound with its tables in `root` of HDFS, and what it has acknowledged."""

    def __init__(self, home, hdfs, root):
        super().__init__(home, HADOOP_USER_NAME=USER, GREYHOUND__PLUGINS__ACTIVITY__STORE=hdfs.url + root, **hdfs.env)
        self.hdfs, self.root, self.copies = hdfs, root, []
        self.pushed, self.acknowledged = 0, []
        hdfs.mkdir(root, USER)

    def end(self):
        for it in [self, *self.copies]:
            if it.child and it.child.poll() is None:
                it.kill()

    def copy(self, home):
        """A second one, on a copy of this one's data directory."""
        shutil.copytree(self.home / "data", f"{home}/data")
        other = Program(home, self.hdfs, self.root)
        other.clock = self.clock
        self.copies.append(other)
        return other

    def configure(self, **keys):
        """Sets keys of [plugins.activity.hdfs]."""
        self.settings |= {f"GREYHOUND__PLUGINS__ACTIVITY__HDFS__{key.upper()}": str(value) for key, value in keys.items()}
        return self

    def checks(self, code=0):
        """What `greyhound validate --connect` says of each thing: its verdict, and why."""
        # It compares its clock with the NameNode's.
        env = {name: value for name, value in self.env.items() if name not in self.clockwork}
        done = subprocess.run([PROGRAM, "validate", "--connect"], cwd=self.home, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        lines = [re.split(r"  +", line.strip(), maxsplit=3) for line in done.stdout.splitlines() if line.startswith("  activity ")]
        return {name: (verdict, *why) for _, name, verdict, *why in lines}

    def push(self, count=10):
        """Appends rows to messaging.push, each with a number that no other has."""
        names = [f"{self.home.name}-{self.pushed + n}" for n in range(count)]
        self.pushed += count
        row = {"connection_seq": 0, "user_id": "1", "namespace": "/", "event": "test", "size_bytes": 0}
        self.publish("messaging.push", [row | {"data": name} for name in names])
        self.acknowledged += names

    def all_committed(self):
        until("the rows to be committed", lambda: self.committed() == len(self.acknowledged))
        self.ready()

    def trouble(self, what):
        """Waits until the sink says on /readyz what is wrong; the text."""
        says = lambda: next((why for why in (self.parts() or {}).values() if what in why), None)
        return until(f"/readyz to say `{what}`", says)

    def rows(self, root=None):
        """`seq` and `data` of every row of messaging.push."""
        return self.query("messaging.push", "SELECT seq, data FROM {} ORDER BY seq", root)

    def query(self, topic, query, root=None):
        """What DuckDB answers over webhdfs; `{}` stands for the table."""
        sql = duckdb.connect()
        sql.register_filesystem(self.hdfs.files())
        files = f"webhdfs://{root or self.root}/{topic}/**/*.parquet"
        query = query.format(f"read_parquet('{files}', hive_partitioning = true, filename = true)")

        # Soon after a NameNode was killed, a DataNode's first answers are errors, which fsspec takes for the file.
        return until("the tables to be readable", lambda: sql.execute(query).fetchall(), despite=duckdb.Error)

    def staged(self, topic="*"):
        """The files that are being written, or were left behind."""
        return self.hdfs.files().glob(f"{self.root}/_staging/*/{topic}/*.tmp")

    def check(self):
        """Stops; then every acknowledged row is there once, nothing else is, and nothing is left behind."""
        self.stop()
        assert self.rows() == list(enumerate(self.acknowledged))
        assert self.staged() == []

    def said(self, what):
        """How many lines of the log have `what` in them."""
        return self.log.read_text().count(what)

"""Everything fails, again and again, while rows flow: every acknowledged row is in the table once, and holes are recorded.

    tests/run chaos                                   a minute, by a new seed
    CHAOS_SECONDS=1800 CHAOS_SEED=7 tests/run chaos   half an hour, by this one
"""

import os
import random
import subprocess
import tempfile
import time

import duckdb
import pytest
from chaos import BATCH, Chaos, ChaosOfTwo, Flow, Wire
from cluster import HighlyAvailable
from conftest import Program, running

from program import until

SECONDS = float(os.environ.get("CHAOS_SECONDS", 60))
SEED = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 32)))
RATE = 20_000


def test_chaos(greyhound, hdfs, capsys):
    wire = Wire(hdfs.ports["nn.rpc"])
    greyhound.settings["GREYHOUND__PLUGINS__ACTIVITY__STORE"] = f"hdfs://127.0.0.1:{wire.port}{greyhound.root}"
    try:
        survives(greyhound, capsys, Chaos, wire)
    finally:
        wire.close()


def test_chaos_with_two_namenodes(two_namenodes, capsys):
    survives(two_namenodes, capsys, ChaosOfTwo)


@pytest.fixture
def two_namenodes():
    with running(HighlyAvailable) as hdfs, tempfile.TemporaryDirectory(prefix="greyhound-") as home:
        program = Program(home, hdfs, "/chaos")
        try:
            yield program
        finally:
            program.end()


def survives(greyhound, capsys, chaos, *wire):
    disk = small_disk(greyhound)
    # Little, so that the journal lets go of rows, and the disk fills, within the test.
    greyhound.settings |= {"GREYHOUND__LOG__SEGMENT_SIZE": "8MiB", "GREYHOUND__LOG__RETENTION__BYTES": "32MiB"}
    # An hour ends in the midst: it is closed and compacted while everything fails.
    greyhound.clock = 3600 - SECONDS / 2 - time.time() % 3600
    try:
        greyhound.start()
        with capsys.disabled():
            print(f"\n{chaos.__name__}: CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:.0f}")
            with Flow(greyhound, RATE) as flow:
                told = chaos(SEED, greyhound.hdfs, greyhound, disk, *wire).run(SECONDS)
        greyhound.hdfs.heal()
        until("everything to be committed", lambda: everything_is_committed(greyhound), 300)
        greyhound.ready()
        greyhound.stop()
        summary = check(tables(greyhound), flow)
        greyhound.run("tables", "verify")
        assert greyhound.staged() == []
        with capsys.disabled():
            print(f"{chaos.__name__}: {len(told)} faults, {flow.sent} batches sent, {len(flow.acknowledged)} acknowledged; {summary}")
    finally:
        if disk:
            subprocess.run(["umount", "-l", disk], check=True)


def small_disk(greyhound):
    """A small file system in memory for the data directory; None where this user may not mount one."""
    disk = greyhound.home / "data"
    disk.mkdir()
    mounted = os.getuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", disk], capture_output=True).returncode == 0
    return disk if mounted else None


def everything_is_committed(greyhound):
    topic = greyhound.topic("messaging.push")
    return all(it["lag"] == 0 for it in topic["consumers"] if it["name"] == "activity")


def tables(greyhound):
    """`push` and `gap`, as DuckDB reads them over webhdfs."""
    sql = duckdb.connect()
    files = greyhound.hdfs.files()
    sql.register_filesystem(files)
    rows = lambda topic: f"read_parquet('webhdfs://{greyhound.root}/{topic}/**/*.parquet', hive_partitioning = true)"
    sql.execute(f"CREATE TABLE push AS SELECT * FROM {rows('messaging.push')}")
    sql.execute("CREATE TABLE gap (shard VARCHAR, topic VARCHAR, first_seq BIGINT, last_seq BIGINT)")
    # Not every seed brings a fault that leaves a gap.
    if files.glob(f"{greyhound.root}/greyhound.gap/**/*.parquet"):
        sql.execute(f"INSERT INTO gap SELECT shard, topic, first_seq, last_seq FROM {rows('greyhound.gap')}")
    return sql


def check(sql, flow):
    one = lambda query: sql.execute(query).fetchall()
    double = "SELECT connection_seq, size_bytes FROM push GROUP BY ALL HAVING count(*) > 1 LIMIT 10"
    assert one(double) == [], "rows are there twice"
    assert one("SELECT shard, seq FROM push GROUP BY ALL HAVING count(*) > 1 LIMIT 10") == [], "numbers are there twice"

    sql.execute("CREATE TABLE acknowledged AS SELECT unnest(?::BIGINT[]) AS batch", [flow.acknowledged])
    missing = f"""
        SELECT batch, n FROM acknowledged
        LEFT JOIN (SELECT connection_seq AS batch, count(*) AS n FROM push GROUP BY ALL) USING (batch)
        WHERE n IS DISTINCT FROM {BATCH} LIMIT 10"""
    assert one(missing) == [], "acknowledged rows are missing"

    holes = """
        SELECT shard, first, last FROM (
            SELECT shard, coalesce(lag(seq) OVER (PARTITION BY shard ORDER BY seq) + 1, 0) AS first, seq - 1 AS last FROM push
        ) WHERE first <= last"""
    unexplained = f"""
        SELECT hole.shard, hole.first, hole.last FROM ({holes}) AS hole WHERE NOT EXISTS (
            SELECT 1 FROM gap WHERE gap.shard = hole.shard AND coalesce(gap.topic, 'messaging.push') = 'messaging.push'
            AND gap.first_seq <= hole.first AND gap.last_seq >= hole.last) LIMIT 10"""
    assert one(unexplained) == [], "holes that no gap row tells of"
    [(rows, hours)] = one("SELECT count(*), count(DISTINCT hour) FROM push")
    [(missing_numbers,)] = one(f"SELECT coalesce(sum(last - first + 1), 0) FROM ({holes})")
    return f"{rows} rows of {hours} hours, {missing_numbers} numbers in recorded gaps"

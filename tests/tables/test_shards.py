"""Whose rows are whose: processes that share a name, a table, or a past."""

import shutil

import duckdb
import pytest

from program import TEN_PAST, Greyhound, until


@pytest.fixture
def node(tmp_path):
    """Starts nodes of one name, with their tables in one place."""
    started = []

    def node(home):
        (tmp_path / home).mkdir(exist_ok=True)
        store = str(tmp_path / "tables")
        started.append(Greyhound(tmp_path / home, GREYHOUND__NODE__NAME="web", GREYHOUND__PLUGINS__ACTIVITY__STORE=store))
        started[-1].clock = TEN_PAST
        return started[-1]

    yield node
    for it in started:
        if it.child and it.child.poll() is None:
            it.kill()


def push(node, *names):
    row = {"connection_seq": 0, "user_id": "1", "namespace": "/", "event": "test", "size_bytes": 0}
    node.publish("messaging.push", [row | {"data": name} for name in names])


def rows(tmp_path):
    """Of each shard: its rows in the order of their numbers, which are dense."""
    sql = f"SELECT shard, seq, data FROM read_parquet('{tmp_path}/tables/messaging.push/**/*.parquet', hive_partitioning = true) ORDER BY ALL"
    shards = {}
    for shard, seq, data in duckdb.sql(sql).fetchall():
        assert shard.startswith("web-") and seq == len(shards.setdefault(shard, []))
        shards[shard].append(data)
    return sorted(shards.values())


def test_two_of_one_name_are_two_shards(node, tmp_path):
    first, second = node("first").start(), node("second").start()
    push(first, "a0", "a1")
    push(second, "b0")
    push(first, "a2")
    push(second, "b1")
    first.stop()
    second.stop()
    assert rows(tmp_path) == [["a0", "a1", "a2"], ["b0", "b1"]]


def test_a_lost_data_directory_is_a_new_shard(node, tmp_path):
    it = node("only").start()
    push(it, "before", "before")
    until("the commit", lambda: it.committed() == 2)
    it.kill()
    shutil.rmtree(it.home / "data")
    it.start()
    push(it, "after")
    it.stop()
    assert rows(tmp_path) == [["after"], ["before", "before"]]


def test_of_two_on_copies_of_a_quiet_table_the_first_to_write_goes_on(node, tmp_path):
    original = node("original").start()
    push(original, "both")
    original.stop()
    shutil.copytree(original.home / "data", tmp_path / "copy/data")
    copy = node("copy").start()
    original.start()
    # Both stand at the same row. Whoever comes second keeps its rows in its journal, and says so.
    push(copy, "copy")
    until("the commit", lambda: copy.committed() == 2)
    push(original, "original")
    why = until("the sink to stop", lambda: (original.parts() or {}).get("activity.messaging.push"))
    assert "another process runs on a copy of this data directory" in why
    push(copy, "copy")
    copy.stop()
    assert original.committed() == 1 and original.topic("messaging.push")["end"] == 2
    original.stop()
    assert rows(tmp_path) == [["both", "copy", "copy"]]
    # Without the other's rows, its own are not lost.
    shutil.rmtree(tmp_path / "tables")
    original.start()
    original.stop()
    sql = f"SELECT seq, data FROM read_parquet('{tmp_path}/tables/messaging.push/**/*.parquet')"
    assert duckdb.sql(sql).fetchall() == [(1, "original")]

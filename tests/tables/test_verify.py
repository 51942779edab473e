"""What `greyhound tables verify` and `repair` say, of tables that were tampered with."""

import shutil
import subprocess

import duckdb
import pytest

from program import PROGRAM, until

TOPIC = "messaging.push"


@pytest.fixture
def tables(greyhound):
    """A table with a few rows, whose writer has stopped."""
    greyhound.start()
    row = {"connection_seq": 0, "user_id": "1", "namespace": "/", "event": "test", "size_bytes": 0}
    greyhound.publish(TOPIC, [row] * 5)
    greyhound.stop()
    return greyhound


def tool(greyhound, *args):
    """What it says, and its exit status."""
    done = subprocess.run([PROGRAM, "tables", *args], cwd=greyhound.home, env=greyhound.env, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def day_of(table):
    """The directory of the day that has rows. The hour before it is closed, and may be of another day."""
    return next(table.rglob("*.parquet")).parents[2]


def test_what_a_reader_would_read_twice_is_named(tables):
    assert tool(tables, "verify")[0] == 0
    table = tables.home / "data/tables" / TOPIC
    shutil.copytree(day_of(table), table / "dt=old")
    rows = duckdb.sql(f"SELECT count(*) FROM read_parquet('{table}/**/*.parquet')").fetchall()
    assert rows == [(10,)], "they are double"
    status, said = tool(tables, "verify")
    assert status == 1 and f"{TOPIC}/dt=old/hour=" in said and "move it out of the table" in said, said


def test_a_day_and_a_table_that_are_none_are_refused(tables):
    day = day_of(tables.home / "data/tables" / TOPIC).name.removeprefix("dt=")
    assert tool(tables, "verify", TOPIC, "--day", day)[0] == 0
    for text in ["2026-13-45", "yesterday"]:
        status, said = tool(tables, "verify", "--day", text)
        assert status == 2 and f"'{text}'" in said and "expected a day of the calendar, such as 2026-05-10" in said, said
    status, said = tool(tables, "verify", "messaging_push")
    assert status == 1 and "did you mean `messaging.push`?" in said, said
    status, said = tool(tables, "verify", TOPIC, "--day", "2020-01-01")
    assert status == 1 and "did you mean" not in said, said


def test_what_is_in_the_way_of_a_repair_is_named(tables):
    assert tool(tables, "repair")[0] == 0
    staging = tables.home / "data/tables/_staging"
    (staging / "gone-00000001").write_text("a file")
    (staging / "check-1700000000-0123456789abcdef").mkdir()
    status, said = tool(tables, "repair")
    assert status == 1 and "_staging/gone-00000001" in said and "paths in the way: 1" in said, said
    assert "removed _staging/check-1700000000-0123456789abcdef" in said
    (staging / "gone-00000001").unlink()
    assert tool(tables, "repair")[0] == 0


@pytest.mark.parametrize("lost", ["newest file", "table"])
def test_what_was_deleted_is_missed_and_written_again_from_the_journal(greyhound, lost):
    greyhound.start()
    row = {"connection_seq": 0, "user_id": "1", "namespace": "/", "event": "test", "size_bytes": 0}
    committed = lambda: greyhound.metric("greyhound_activity_rows_total", topic=TOPIC)
    for count in [5, 3]:
        before = committed()
        greyhound.publish(TOPIC, [row] * count)
        until("the commit", lambda: committed() == before + count)
    table = greyhound.home / "data/tables" / TOPIC
    assert tool(greyhound, "verify", TOPIC)[0] == 0
    if lost == "table":
        shutil.rmtree(table)
    else:
        max(table.rglob("*.parquet")).unlink()
    status, said = tool(greyhound, "verify", TOPIC)
    rows = "rows 0 to 7 are missing" if lost == "table" else "rows 5 to 7 are missing"
    assert status == 1 and rows in said, said
    status, said = tool(greyhound, "repair", "--from-journal")
    assert status == 0 and f"rows restored from the journal: {8 if lost == 'table' else 3}" in said, said
    assert tool(greyhound, "verify", TOPIC)[0] == 0
    assert tool(greyhound, "repair", "--from-journal")[1] == "rows restored from the journal: 0\n"
    greyhound.stop()
    assert tool(greyhound, "verify")[0] == 0


def tamper(file, change):
    """Rewrites a file with other values, and keeps what its footer says."""
    sql = duckdb.connect()
    sql.execute("SET TimeZone = 'UTC'")
    said = sql.execute("SELECT decode(key), decode(value) FROM parquet_kv_metadata(?) WHERE starts_with(decode(key), 'greyhound.')", [str(file)]).fetchall()
    kept = ", ".join(f"'{key}': '{value}'" for key, value in said)
    changed = file.with_name("changed")
    sql.execute(f"COPY (SELECT * REPLACE ({change}) FROM read_parquet('{file}', hive_partitioning = false)) TO '{changed}' (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{kept}}})")
    changed.rename(file)


def first_file(greyhound):
    return min((greyhound.home / "data/tables" / TOPIC).rglob("*.parquet"))


def test_a_value_that_was_changed_is_named(tables):
    file = first_file(tables)
    sound = file.read_bytes()
    tamper(file, "seq AS seq")
    status, said = tool(tables, "verify", "--values")
    assert status == 0 and "not checkable" not in said, f"another program wrote the same values: {said}"
    for column, change in [
        ("user_id", "CASE WHEN seq = 3 THEN '2' ELSE user_id END AS user_id"),
        ("time", "time + INTERVAL 1 MICROSECOND AS time"),
    ]:
        file.write_bytes(sound)
        tamper(file, change)
        assert tool(tables, "verify")[0] == 0, "it was not asked for values"
        status, said = tool(tables, "verify", "--values")
        assert status == 1 and f"{file.name}: values of {column} changed after they were committed" in said, said
    file.write_bytes(sound)
    assert tool(tables, "verify", "--values")[0] == 0


def test_rows_with_changed_values_are_written_again_from_the_journal(greyhound):
    row = {"connection_seq": 0, "user_id": "1", "namespace": "/", "event": "test", "size_bytes": 0}
    with greyhound.hours_ago(2):
        greyhound.start()
        for _ in range(3):
            before = greyhound.metric("greyhound_activity_rows_total", topic=TOPIC)
            greyhound.publish(TOPIC, [row] * 5)
            until("the commit", lambda: greyhound.metric("greyhound_activity_rows_total", topic=TOPIC) == before + 5)
        greyhound.stop()
    greyhound.start()
    until("compaction", lambda: len(list((greyhound.home / "data/tables" / TOPIC).rglob("*.parquet"))) == 1)
    assert tool(greyhound, "verify", "--values")[0] == 0
    file = first_file(greyhound)
    tamper(file, "size_bytes + 1 AS size_bytes")
    status, said = tool(greyhound, "verify", "--values")
    assert status == 1 and "values of size_bytes changed" in said and "keep it until that has written its rows again" in said, said
    # As it says.
    file.rename(greyhound.home / file.name)
    status, said = tool(greyhound, "repair", "--from-journal")
    assert status == 0 and "rows restored from the journal: 15" in said, said
    until("the hour to be complete again", lambda: tool(greyhound, "verify", "--values")[0] == 0)
    greyhound.stop()

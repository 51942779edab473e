"""The schema of a topic changes from one version to the next, over the same data directory."""

import subprocess

import duckdb
import pytest

from program import PROGRAM, TEN_PAST, Earlier, Greyhound, before_data

LATER = {"GREYHOUND__PLUGINS__ACTIVITY__FRESHNESS": "1h"}


@pytest.fixture
def version(tmp_path):
    """Makes versions of the program, all in the same directory."""
    made = []

    def make(kind, *args, **settings):
        made.append(kind(tmp_path, *args, **settings))
        made[-1].clock = TEN_PAST
        return made[-1]

    yield make
    for it in made:
        if it.child and it.child.poll() is None:
            it.kill()


def rows(**more):
    return [{"connection_seq": 0, "user_id": "1", "namespace": "/", "event": "test", "size_bytes": n} | more for n in range(3)]


def test_a_new_column(version, tmp_path):
    committed = version(Earlier, before_data).start()
    committed.publish("messaging.push", rows())
    committed.stop()
    killed = version(Earlier, before_data, **LATER).start()
    killed.publish("messaging.push", rows())
    killed.kill()
    today = version(Greyhound, **LATER).start()
    today.publish("messaging.push", rows(data="[1]"))
    today.stop()

    expected = [(seq, seq % 3, None if seq < 6 else "[1]") for seq in range(9)]
    assert today.sql().execute("SELECT seq, size_bytes, data FROM messaging_push ORDER BY seq").fetchall() == expected
    assert [contents(file) for file in sorted(tmp_path.glob("data/tables/messaging.push/**/*.parquet"))] == [
        (0, 2, False),
        # They were in the journal when the version changed: no file has rows of both.
        (3, 5, True),
        (6, 8, True),
    ]


def contents(file):
    """The first and the last row of a file, and whether it has the new column."""
    rows = duckdb.connect().execute(f"SELECT * FROM '{file}' ORDER BY seq")
    columns, seqs = [column[0] for column in rows.description], [row[0] for row in rows.fetchall()]
    return seqs[0], seqs[-1], "data" in columns


@pytest.mark.parametrize(
    "change, why",
    [
        (lambda fields: [f | ({"type": "int"} if f["name"] == "size_bytes" else {}) for f in fields], "`size_bytes` was Int32 and is now Int64"),
        (lambda fields: fields + [{"name": "mood", "type": ["null", "string"], "default": None}], "`mood` was removed"),
        (lambda fields: fields[1:], "`user_id` was moved"),
    ],
)
def test_an_incompatible_change_is_refused(version, change, why):
    version(Earlier, change).start().stop()
    today = version(Greyhound)
    refused = subprocess.run([PROGRAM], cwd=today.home, env=today.env, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1
    assert f"schema messaging.push: field {why}" in refused.stderr


@pytest.mark.parametrize("name, why", [("Event", "`Event`: engines ignore case, so its name clashes with the column `event`"), ("2nd", "`2nd`: expected a name")])
def test_a_column_that_no_table_can_have_is_refused(version, name, why):
    topic = version(Earlier, lambda fields: fields + [{"name": name, "type": ["null", "string"], "default": None}])
    refused = subprocess.run(topic.command, cwd=topic.home, env=topic.env, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1
    assert f"field {why}" in refused.stderr

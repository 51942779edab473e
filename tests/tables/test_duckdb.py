"""The SQL that `greyhound tables ddl` prints, and that of docs/queries.md, with the newest DuckDB of each major version."""

import json
import subprocess
import sys

import pytest
from program import ROOT
from test_questions import traffic

PYTHON = {"1": ROOT / "tests/tables/.venv/bin/python", "2": sys.executable}


def ask(version, *sql):
    """What a session of that version answers, one after the other."""
    done = subprocess.run([PYTHON[version], ROOT / "tests/tables/ask.py"], input=json.dumps(sql), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    [found, *answers] = json.loads(done.stdout)
    assert found.startswith(f"{version}.")
    return answers


def test_every_version_answers_alike(greyhound, questions):
    greyhound.start()
    traffic(greyhound)
    greyhound.stop()
    asked = {name: f"SELECT * FROM {name} ORDER BY ALL" for name in ("messaging_messages", "messaging_deliveries", "messaging_cluster", "messaging_memberships")} | questions
    of = {version: dict(zip(["ddl", *asked], ask(version, greyhound.ddl("duckdb"), *asked.values()))) for version in PYTHON}
    assert of["1"] == of["2"]
    for name, answer in of["1"].items():
        assert isinstance(answer, list), f"{name}: {answer}"
    assert len(of["1"]["messaging_deliveries"]) >= 6


@pytest.mark.parametrize("version", PYTHON)
def test_a_table_without_a_file_has_no_rows_and_never_hides_any(greyhound, version):
    place = greyhound.home / "data/tables/greyhound.gap/dt=2026-05-10/hour=08/shard=s"
    place.mkdir(parents=True)
    ddl, count = greyhound.ddl("duckdb"), "SELECT count(*) FROM greyhound_gap WHERE first_seq IS NULL"
    write = f"COPY (SELECT 0::BIGINT AS seq, 'redis' AS reason) TO '{place}/0.parquet' (FORMAT parquet)"
    made, before, _, after, _, again = ask(version, ddl, count, write, count, ddl, count)
    assert isinstance(made, list) and (before, again) == ([[0]], [[1]])
    if version == "1":
        assert "there are rows now: run the SQL of `greyhound tables ddl --dialect duckdb` again" in after
    else:
        assert after == [[1]]

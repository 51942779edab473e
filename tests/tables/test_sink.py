"""What the sink tells of itself."""

import socket

from program import until


def push(greyhound, count):
    row = {"connection_seq": 0, "user_id": "1", "namespace": "/", "event": "test", "size_bytes": 0}
    greyhound.publish("messaging.push", [row] * count)


def committed(greyhound):
    return greyhound.metric("greyhound_activity_rows_total", topic="messaging.push")


def test_every_file_is_a_row(greyhound):
    greyhound.start()
    for count in [3, 5]:
        before = committed(greyhound)
        push(greyhound, count)
        until("the commit", lambda: committed(greyhound) == before + count)
    push(greyhound, 7)
    clients = greyhound.clients()
    clients.login("phone", "1")
    clients.close()
    greyhound.stop()

    sql = greyhound.sql()
    root = f"{greyhound.home}/data/tables/"
    files = f"""
        SELECT m.topic, m.file_path, m.row_count, b.size, m.first_seq, m.last_seq FROM (
            SELECT regexp_extract(filename, '/?([^/]*)/dt=', 1) AS topic, filename[length('{root}') + 1:] AS file_path, filename,
                   count(*) AS row_count, min(seq) AS first_seq, max(seq) AS last_seq
            FROM read_parquet('{root}*/dt=*/**/*.parquet', union_by_name = true, filename = true) GROUP BY ALL
        ) m JOIN (SELECT filename, size FROM read_blob('{root}*/dt=*/**/*.parquet')) b USING (filename)
        WHERE m.topic <> 'greyhound.sink' ORDER BY ALL"""
    told = "SELECT topic, file_path, row_count, size_bytes, first_seq, last_seq FROM greyhound_sink ORDER BY ALL"
    expected = sql.execute(files).fetchall()
    assert sql.execute(told).fetchall() == expected, "also those of the last commits, when it stopped"
    assert [row[2] for row in expected if row[0] == "messaging.push"] == [3, 5, 7]
    wrong = """SELECT count(*) FROM greyhound_sink WHERE recovered OR attempts <> 1 OR duration_ms < 0
               OR file_path NOT LIKE strftime(hour_time, '%%/dt=%Y-%m-%d/hour=%H/%%')"""
    assert sql.execute(wrong).fetchone() == (0,)


def test_what_waits_is_seen_in_the_metrics(greyhound):
    age = lambda: greyhound.metric("greyhound_activity_uncommitted_age_seconds", topic="messaging.push")
    retries = lambda: greyhound.metric("greyhound_activity_retries_total", topic="messaging.push", operation="commit", cause="obstacle")
    greyhound.start()
    assert age() == 0
    # Somebody's file lies in the place of the table.
    table = greyhound.home / "data/tables/messaging.push"
    until("its first hour to be marked", lambda: list(table.glob("*/*/*/_FIRST_HOUR")))
    aside = table.rename(table.with_name("aside"))
    table.write_text("")
    push(greyhound, 10)
    until("the age to grow", lambda: age() > 2)
    assert "move away" in greyhound.parts()["activity.messaging.push"]
    assert retries() > 0 and committed(greyhound) == 0
    # It is the age of the oldest row, whatever comes later.
    before = age()
    push(greyhound, 10)
    until("the age to grow", lambda: age() > before)
    table.unlink()
    aside.rename(table)
    until("the commit", lambda: committed(greyhound) == 20)
    until("nothing to wait", lambda: age() == 0)
    assert greyhound.metric("greyhound_activity_bytes_total", topic="messaging.push") > 0
    greyhound.stop()


def test_duckdb_reads_tables_wherever_they_are(greyhound):
    # All that DuckDB takes for a pattern, or that ends a text; beside it, what the pattern would match.
    odd, beside = "data/it's [a] {b} *?", "data/it's a {b} xx"
    for store, count in [(beside, 1), (odd, 2)]:
        greyhound.settings["GREYHOUND__PLUGINS__ACTIVITY__STORE"] = store
        greyhound.settings["GREYHOUND__NODE__DATA_DIR"] = f"data/of {count}"
        greyhound.start()
        push(greyhound, count)
        greyhound.stop()
    assert greyhound.sql().execute("SELECT count(*) FROM messaging_push").fetchone() == (2,)


def test_what_is_left_in_the_journal_is_told_at_the_end(greyhound):
    greyhound.settings["GREYHOUND__PLUGINS__ACTIVITY__STORE"] = "hdfs://127.0.0.1:1/tables"
    left = lambda: [line for line in greyhound.log.read_text().splitlines() if "rows are not in their tables yet" in line]
    greyhound.launch().stop()
    assert left() == [], "there are no rows"
    greyhound.launch()
    push(greyhound, 7)
    greyhound.stop()
    (line,) = left()
    assert "rows=7 tables=\"messaging.push\"" in line


def test_it_is_not_ready_before_the_store_has_answered(greyhound):
    """A NameNode that hangs: the system takes the connection, and nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        greyhound.settings["GREYHOUND__PLUGINS__ACTIVITY__STORE"] = f"hdfs://127.0.0.1:{hanging.getsockname()[1]}/tables"
        greyhound.launch()

        def why():
            parts = greyhound.parts()
            assert parts, "it is ready"
            return parts.get("activity.messaging.push")

        said = until("the table to be a part", why)
        assert "has not answered yet" in said or "no answer within" in said, said
        greyhound.kill()

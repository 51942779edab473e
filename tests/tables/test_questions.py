"""The SQL of docs/queries.md, word for word, with known answers."""

import duckdb
from conftest import TOPICS
from program import mint, until


def traffic(greyhound):
    """Two devices of user 42, one of user 7, one refused; messages to them and to nobody."""
    clients = greyhound.clients()
    assert clients.login("phone", "42") == "authenticated"
    assert clients.login("laptop", "42") == "authenticated"
    assert clients.login("other", "7") == "authenticated"
    greyhound.emit("user(42)", event="message")
    greyhound.emit("user(7)", event="message")
    greyhound.emit("user(nobody)", event="lost")
    greyhound.emit(event="message")
    for name, count in [("phone", 2), ("laptop", 2), ("other", 2)]:
        clients.received(name, count)
    clients.push("phone", "order", {"item": 7})
    assert clients.login("thief", None, token="stolen") == "unauthorized"
    assert clients.login("sleeper", None, token=mint("7", exp=1)) == "unauthorized"
    for name in ["phone", "laptop"]:
        clients.ask(do="close", name=name)
    until("user 42 to be gone", lambda: greyhound.emit("user(42)", event="late")["recipients"] == 0)
    clients.close()


def test_the_questions_of_the_documentation(greyhound, questions):
    greyhound.start()
    traffic(greyhound)
    greyhound.stop()
    sql = greyhound.sql()

    assert set(questions) == {"rows", "told", "nobody", "latency", "refused", "members", "missing"}
    answer = {name: sql.execute(text).fetchall() for name, text in questions.items()}

    assert sum(row[-1] for row in answer["rows"]) == 2 + 1 + 3 + late_deliveries(sql)
    told = [(row[1], row[2]) for row in answer["told"]]
    assert told[:4] == [("message", "queued")] * 4, "on both devices, twice"
    assert told[-1] == ("late", "not connected")
    assert all(row[3] is not None and row[4] >= 0 and row[5:8] == (None, "websocket", "websocket") for row in answer["told"][:4])

    assert [row[1] for row in answer["nobody"]] == ["lost", "late"]
    assert {row[-1] for row in answer["nobody"]} == {"nobody was in the rooms"}

    [(outcome, deliveries, p50, p99)] = answer["latency"]
    assert (outcome, deliveries) == ("queued", 6 + late_deliveries(sql))
    assert 0 <= p50 <= p99

    [expired] = [row for row in answer["refused"] if row[0] == "expired"]
    assert expired[1:3] == ("jwt expired", "7"), "the token was genuine, so it says whose it was"
    [refused] = [row for row in answer["refused"] if row[0] == "refused"]
    assert refused[1] == "jwt malformed" and refused[2] is None and refused[-1] == 1

    assert answer["members"] == [], "nobody asked for a room"
    assert answer["missing"] == []


def late_deliveries(sql):
    """A `late` message that still found a device, before the server had seen it leave."""
    return sql.execute("SELECT count(*) FROM messaging_deliveries WHERE event = 'late'").fetchone()[0]


def test_what_asks_for_an_acknowledgement_is_queued_and_then_acked_or_not(greyhound, questions):
    greyhound.start()
    clients = greyhound.clients()
    assert clients.login("phone", "42") == "authenticated"
    answer = greyhound.emit("user(42)", event="question", ack_timeout="10s")
    assert (answer["acks"], answer["complete"]) == (["yes"], True)
    # Nobody listens to it, so that nobody calls back.
    answer = greyhound.emit("user(42)", event="ignored", ack_timeout="1ms")
    assert (answer["acks"], answer["complete"]) == ([], False)
    counted = lambda outcome: greyhound.metric("greyhound_messaging_deliveries_total", outcome=outcome)
    assert (counted("queued"), counted("acked"), counted("unknown")) == (2, 1, 0)
    clients.close()
    greyhound.stop()
    sql = greyhound.sql()
    rows = sql.execute("SELECT message_seq, outcome FROM messaging_delivery ORDER BY seq").fetchall()
    assert sorted(rows) == [(0, "acked"), (0, "queued"), (1, "queued")] and rows.index((0, "queued")) < rows.index((0, "acked"))
    told = sql.execute(questions["told"]).fetchall()
    assert [(row[1], row[2], row[4] >= 0, row[5] is not None) for row in told] == [("question", "acked", True, True), ("ignored", "queued", True, False)]
    assert sql.execute(questions["nobody"]).fetchall() == []
    assert [row[:2] for row in sql.execute(questions["latency"]).fetchall()] == [("acked", 1), ("queued", 2)]


def test_a_stay_in_a_room_ends_when_the_socket_leaves_it_or_closes(greyhound, questions):
    greyhound.start()
    clients = greyhound.clients()
    assert clients.login("phone", None, token=mint("42", rooms=["team(7)"], join=["team(*)"], site="example.com")) == "authenticated"
    assert clients.login("laptop", None, token=mint("42", join=["team(*)"])) == "authenticated"
    clients.push("laptop", "join", "team(7)")
    clients.push("laptop", "leave", "team(7)")
    clients.push("laptop", "join", "other")
    clients.ask(do="close", name="phone")
    until("the phone to be gone", lambda: greyhound.emit("team(7)", event="late")["recipients"] == 0)
    running = "SELECT count(*) FROM messaging_memberships WHERE left_at IS NULL"
    stays = "SELECT user_id, room, cause, left_at >= joined_at FROM messaging_memberships ORDER BY connection_seq, room"
    of_laptop, of_phone = [("42", "team(7)", "client", True), ("42", "user(42)", "authentication", True)], ("42", "team(7)", "authentication", True)
    until("the rows", lambda: greyhound.sql().execute(running).fetchone() == (1,), despite=(duckdb.Error,))
    clients.close()
    greyhound.stop()
    sql = greyhound.sql()
    expected = [("42", "site(example.com)", "authentication", True), of_phone, ("42", "user(42)", "authentication", True), *of_laptop]
    assert sql.execute(stays).fetchall() == expected
    members = sql.execute(questions["members"]).fetchall()
    assert [(row[0], row[3]) for row in members] == [("42", "authentication"), ("42", "client")]


def made(greyhound, topic, columns, *rows):
    """Puts rows into a table as if two nodes had written them: the first column is the shard's name."""
    for shard in {row[0] for row in rows}:
        place = greyhound.home / f"data/tables/{topic}/dt=2026-05-10/hour=08/shard={shard}"
        place.mkdir(parents=True, exist_ok=True)
        values = [f"({n}::BIGINT, TIMESTAMPTZ '2026-05-10 08:00:00+00', {', '.join(map(str, row[1:]))})" for n, row in enumerate(rows) if row[0] == shard]
        select = f"SELECT * FROM (VALUES {', '.join(values)}) AS t(seq, time, {columns})"
        duckdb.execute(f"COPY ({select}) TO '{place}/0.parquet' (FORMAT parquet)")


def test_told_is_what_was_queued_or_acked_and_not_unsent(greyhound, questions):
    """Message n is row n of either node; its deliveries' outcomes are rows that come one after the other."""
    message = lambda shard, room, recipients, origin: (shard, f"['user({room})']", "[]::VARCHAR[]", f"'to {room}'", recipients, origin, "NULL", "'http'")
    columns = "rooms, excluded, event, recipients, origin, digest, source"
    rows = {
        "sent": ["queued"], "acked": ["queued", "acked"], "unsent": ["queued", "unsent"], "dropped": ["dropped"], "unknown": ["unknown"],
        "found": ["unknown", "dropped"], "acked all the same": ["queued", "acked", "unsent"], "not recorded": [],
    }  # fmt: skip
    # Each message came to two nodes, and had one recipient at the second.
    first = [message("one", name, 0, "NULL") for name in rows]
    second = [message("two", name, 1, f"'one:{n}'") for n, name in enumerate(rows)]
    made(greyhound, "messaging.message", columns, *first, *second)
    deliveries = [("two", len(rows) + n, 0, "'42'", f"'{outcome}'", 9) for n, outcomes in enumerate(rows.values()) for outcome in outcomes]
    made(greyhound, "messaging.delivery", "message_seq, connection_seq, user_id, outcome, latency_us", *deliveries)

    sql = greyhound.sql()
    outcomes = dict(sql.execute("SELECT event, outcome FROM messaging_deliveries WHERE user_id = '42'").fetchall())
    assert outcomes == {
        "to sent": "queued", "to acked": "acked", "to unsent": "unsent", "to dropped": "dropped", "to unknown": "unknown", "to found": "dropped",
        "to acked all the same": "acked",
    }  # fmt: skip
    told = "SELECT event FROM messaging_cluster WHERE told = 1 ORDER BY event"
    assert sql.execute(told).fetchall() == [("to acked",), ("to acked all the same",), ("to sent",)]
    counted = "SELECT count(*), sum(recipients), sum(told), sum(acked), sum(unsent), sum(dropped), sum(unknown), sum(not_recorded) FROM messaging_cluster"
    assert sql.execute(counted).fetchall() == [(8, 8, 3, 2, 1, 2, 1, 1)]
    assert sorted(row[1] for row in sql.execute(questions["nobody"]).fetchall()) == ["to dropped", "to found", "to unsent"]
    of = questions["told"].replace("'user(42)'", "'user(not recorded)'")
    assert "not recorded" in {row[2] for row in sql.execute(of).fetchall() if row[1] == "to not recorded"}


def test_a_missing_row_is_found(greyhound, questions):
    greyhound.start()
    clients = greyhound.clients()
    clients.login("phone", "1")
    for part in range(3):
        before = len(files(greyhound, "messaging.push"))
        clients.push("phone", "step", part)
        until("the file", lambda: len(files(greyhound, "messaging.push")) > before)
    clients.close()
    greyhound.stop()
    assert greyhound.sql().execute(questions["missing"]).fetchall() == []
    files(greyhound, "messaging.push")[1].unlink()
    [(topic, _, first, last, missing)] = greyhound.sql().execute(questions["missing"]).fetchall()
    assert (topic, first, last, missing) == ("messaging.push", 1, 1, 1)


def test_a_gap_that_is_told_twice_explains_its_rows_once(questions):
    sql = duckdb.connect()
    for topic in TOPICS:
        rows = "VALUES ('s', 0), ('s', 5)" if topic == "push" else "SELECT 's', 0 WHERE false"
        sql.execute(f"CREATE TABLE messaging_{topic} AS SELECT * FROM ({rows}) AS t(shard, seq)")
    missing = lambda *gaps: (
        sql.execute("CREATE OR REPLACE TABLE greyhound_gap (shard TEXT, topic TEXT, first_seq BIGINT, last_seq BIGINT)"),
        [sql.execute("INSERT INTO greyhound_gap VALUES ('s', 'messaging.push', ?, ?)", gap) for gap in gaps],
        sql.execute(questions["missing"]).fetchall(),
    )[-1]
    assert missing((1, 4)) == missing((1, 2), (3, 4)) == missing((1, 3), (2, 4), (1, 3)) == []
    assert missing() == missing((1, 2), (1, 2)) == missing((1, 2), (4, 9)) == [("messaging.push", "s", 1, 4, 4)]


def files(greyhound, topic):
    return sorted((greyhound.home / "data/tables" / topic).glob("**/*.parquet"))


def test_rows_are_readable_while_it_runs(greyhound):
    greyhound.start()
    clients = greyhound.clients()
    clients.login("phone", "1")
    clients.push("phone", "order", "now")
    until("the row", lambda: files(greyhound, "messaging.push"))
    sql = greyhound.sql()
    assert sql.execute("SELECT user_id, event, data FROM messaging_push").fetchall() == [("1", "order", '["now"]')]
    clients.close()
    greyhound.stop()


def test_every_table_has_what_is_promised(greyhound):
    greyhound.start()
    traffic(greyhound)
    greyhound.stop()
    sql = greyhound.sql()
    for topic in TOPICS:
        columns = dict(row[:2] for row in sql.execute(f"DESCRIBE messaging_{topic}").fetchall())
        assert list(columns)[:2] == ["seq", "time"]
        assert columns["seq"] == "BIGINT" and columns["time"] == "TIMESTAMP WITH TIME ZONE"
        assert columns["shard"] == columns["dt"] == columns["hour"] == "VARCHAR"
        wrong = f"""SELECT count(*) FROM messaging_{topic}
                    WHERE dt <> strftime(time, '%Y-%m-%d') OR hour <> strftime(time, '%H')"""
        assert sql.execute(wrong).fetchone() == (0,)
    falls = "SELECT count(*) FROM (SELECT time < lag(time) OVER (PARTITION BY shard ORDER BY seq) AS falls FROM messaging_delivery) WHERE falls"
    assert sql.execute(falls).fetchone() == (0,)

"""The SQL that `greyhound tables ddl` prints and the questions of docs/queries.md: Spark over hdfs:// answers as DuckDB over webhdfs does.
Hive's and Trino's statements pass the parsers of Hive and Trino."""

import datetime
import json

import duckdb
import pytest
from cluster import JARS
from pyspark.sql import SparkSession

from program import ROOT, Earlier, before_data, questions, until

TABLES = [f"messaging_{name}" for name in ("connection", "auth", "message", "delivery", "push", "membership", "revocation")] + ["greyhound_gap", "greyhound_sink"]
VIEWS = {"messaging_messages": "shard, seq", "messaging_deliveries": "shard, message_seq, connection_seq", "messaging_cluster": "message_id",
         "messaging_memberships": "shard, connection_seq, room"}
MESSAGE = {"source": "http", "namespace": "/", "excluded": [], "event": "message", "size_bytes": 9}
OPENED = {"event": "opened", "namespace": "/", "transport": "websocket", "protocol": 4, "address": "192.0.2.1"}
ROWS = {
    "messaging.connection": [
        OPENED | {"agent": "a phone"},
        OPENED | {"agent": "a laptop", "origin": "https://example.com"},
        OPENED | {"transport": "polling"},
        {"event": "closed", "connection_seq": 0, "namespace": "/", "transport": "websocket", "protocol": 4, "user_id": "42",
         "reason": "transport close", "duration_ms": 5, "received_bytes": 6, "sent_bytes": 7},
    ],
    "messaging.auth": [
        {"connection_seq": 0, "outcome": "accepted", "method": "event", "user_id": "42", "address": "192.0.2.1", "agent": "a phone"},
        {"connection_seq": 2, "outcome": "refused", "method": "event", "reason": "jwt malformed", "address": "192.0.2.1"},
        {"outcome": "refused", "method": "handshake", "reason": "jwt malformed", "address": "192.0.2.1", "agent": "it's a \"robot\""},
        {"connection_seq": 2, "outcome": "timeout", "reason": "no authentication in time", "address": "192.0.2.1"},
    ],
    "messaging.message": [
        MESSAGE | {"rooms": ["user(42)", "site(example.com)"], "excluded": ["vip"], "recipients": 2},
        MESSAGE | {"rooms": ["user(7)"], "recipients": 1},
        MESSAGE | {"rooms": ["user(nobody)"], "recipients": 0, "event": "lost"},
        MESSAGE | {"rooms": ["user(42)"], "recipients": 0, "event": "late"},
        MESSAGE | {"rooms": [], "recipients": 3, "source": "emitter 4-5", "publisher": "emitter", "digest": -7},
        MESSAGE | {"rooms": [], "recipients": 3, "source": "emitter 4-5", "publisher": "emitter", "digest": -7},
        MESSAGE | {"rooms": [], "recipients": 0, "source": "greyhound", "publisher": "other", "origin": "other-00000001:5"},
    ],
    "messaging.delivery": [
        {"message_seq": message, "connection_seq": connection, "user_id": user, "outcome": outcome, "latency_us": latency}
        for message, connection, user, outcome, latency in [
            (0, 0, "42", "queued", 10),
            (0, 1, "42", "unknown", 20),
            (1, 2, None, "dropped", 30),
            (4, 0, "42", "queued", 45),
            (0, 1, "42", "acked", 2000),
            (5, 0, "42", "queued", 101),
        ]
    ],
    "messaging.revocation": [
        {"event": "revoked", "revoked_at": 1_767_225_600_123_000, "user_id": "42", "issued_before": 1_767_225_600_000_000, "source": "http"},
        {"event": "withdrawn", "revoked_at": 1_767_225_601_000_000, "jti": "a token", "source": "cluster"},
    ],
    "messaging.membership": [
        {"connection_seq": connection, "user_id": "42", "namespace": "/", "room": room, "event": event, "cause": cause}
        for connection, room, event, cause in [
            (0, "team(7)", "joined", "authentication"), (1, "team(7)", "joined", "server"), (1, "team(7)", "left", "client"), (1, "team(8)", "refused", "client"),
        ]
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    builder = builder.config("spark.driver.memory", "512m").config("spark.sql.shuffle.partitions", 1)
    builder = builder.config("spark.sql.session.timeZone", "UTC").config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
    trino = ":".join(str(jar) for jar in sorted(JARS.glob("trino-*.jar")))
    session = builder.config("spark.driver.extraClassPath", trino).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture
def tables(greyhound):
    """The program's, of two versions, with a row of everything."""
    push = lambda **more: [{"connection_seq": 0, "user_id": "42", "namespace": "/", "event": "order", "size_bytes": n} | more for n in range(3)]
    earlier = Earlier(greyhound.home, before_data, **greyhound.settings)
    earlier.clock = greyhound.clock
    earlier.start().publish("messaging.push", push())
    earlier.stop()
    greyhound.start()
    for topic, rows in ROWS.items():
        greyhound.publish(topic, rows)
    greyhound.publish("messaging.push", push(data='["a"]'))
    until("the rows to be committed", lambda: greyhound.committed() == 6)
    # Of which greyhound.gap has a row.
    greyhound.kill()
    greyhound.start()
    greyhound.publish("messaging.push", push(data='["b"]'))
    greyhound.stop()
    return greyhound


def test_spark_answers_as_duckdb_does(tables, hdfs, spark):
    files = hdfs.files()
    pushes = sorted(files.glob(f"{tables.root}/messaging.push/dt=*/hour=*/shard=*/*.parquet"))
    assert len(pushes) == 3
    # A row that is missing, and that no gap explains.
    files.rm(pushes[1])

    duck = duckdb.connect()
    duck.execute("SET TimeZone = 'UTC'")
    duck.register_filesystem(files)
    duck.execute(tables.ddl("duckdb"))
    statements = split(tables.ddl("spark"))
    for statement in statements:
        spark.sql(statement)

    asked = {name: f"SELECT * FROM {name} ORDER BY shard, seq" for name in TABLES}
    asked |= {name: f"SELECT * FROM {name} ORDER BY {order}" for name, order in VIEWS.items()} | questions()
    answers = {name: [alike(row) for row in duck.execute(sql).fetchall()] for name, sql in asked.items()}
    for name, sql in asked.items():
        assert answers[name], f"{name} has no answer to compare"
        assert [alike(row) for row in spark.sql(sql.strip().rstrip(";")).collect()] == answers[name], name
    assert [row[-3:] for row in answers["missing"]] == [(3, 5, 3)]
    assert spark.sql("SELECT seq, data FROM messaging_push ORDER BY seq").collect() == [(n, None if n < 3 else '["b"]') for n in (0, 1, 2, 6, 7, 8)]

    # A new hour.
    day = next(part for part in pushes[2].split("/") if part.startswith("dt="))
    files.pipe_file(pushes[2].replace(day, "dt=2020-01-01"), files.cat_file(pushes[2]))
    count = "SELECT count(*) FROM messaging_push"
    assert (duck.execute(count).fetchone(), spark.sql(count).first()) == ((9,), (6,))
    [new_hours] = [statement for statement in statements if statement.startswith("MSCK") and "messaging_push" in statement]
    spark.sql(new_hours)
    assert spark.sql(count).first() == (9,)


def test_hive_and_trino_take_their_statements(greyhound, spark):
    hive = spark._jvm.org.apache.hadoop.hive.ql.parse.ParseDriver()
    trino = spark._jvm.io.trino.sql.parser.SqlParser()
    taken = {
        # Spark brings Hive 2.3, where a repair only adds.
        "hive": [hive.parse(statement.replace(" SYNC PARTITIONS", "")).toStringTree() for statement in split(greyhound.ddl("hive"))],
        "trino": [trino.createStatement(statement).toString() for statement in split(greyhound.ddl("trino"))],
    }
    for statements in taken.values():
        assert len(statements) == 2 * len(TABLES) + len(VIEWS)
        for name in [*TABLES, *VIEWS]:
            assert any(name in statement for statement in statements)


def split(sql):
    """The statements, without the comments before them."""
    lines = [line for line in sql.splitlines() if not line.startswith("--")]
    return [statement for part in "\n".join(lines).split(";\n") if (statement := part.strip().rstrip(";"))]


def alike(row):
    """A row of either engine: Spark's times are the machine's local ones."""
    return tuple(it.astimezone(datetime.timezone.utc) if isinstance(it, datetime.datetime) else it for it in row)

"""What the tables of several nodes together say of a message."""

import subprocess

import pytest
from program import ROOT, Greyhound, free_port, until


@pytest.fixture
def redis(tmp_path):
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ping = ["redis-cli", "-p", str(port), "ping"]
    until("redis-server to answer", lambda: subprocess.run(ping, capture_output=True).stdout == b"PONG\n")
    yield port
    server.kill()
    server.wait()


@pytest.fixture
def nodes(tmp_path, redis):
    def node(name):
        (tmp_path / name).mkdir()
        settings = {
            "GREYHOUND__NODE__NAME": name,
            "GREYHOUND__PLUGINS__MESSAGING__REDIS__URL": f"redis://127.0.0.1:{redis}",
            "GREYHOUND__PLUGINS__ACTIVITY__STORE": str(tmp_path / "tables"),
        }
        return Greyhound(tmp_path / name, **settings).start()

    started = [node("first"), node("second")]
    yield started
    for node in started:
        if node.child.poll() is None:
            node.kill()


def test_the_nodes_together_tell_what_became_of_a_message(nodes, redis, questions):
    first, second = nodes
    devices = [node.clients() for node in nodes]
    for device in devices:
        assert device.login("device", "1") == "authenticated"
    assert devices[1].login("elsewhere", "42") == "authenticated"
    first.emit("user(1)", args=["from Greyhound"])
    first.emit("user(1)", args=["from Greyhound"])
    for node in nodes:
        node.emit("user(42)", args=["to 42"])
    first.emit("user(nobody)", args=["to nobody"])
    members = subprocess.run(["node", ROOT / "tests/tables/members.mjs", str(redis)], capture_output=True, text=True, timeout=60)
    # The Node server's own client had connected when it began to publish: it has everything since.
    assert members.stdout == "6\n", members.stdout + members.stderr
    for device in devices:
        assert len(device.received("device", 8)) == 8
    assert len(devices[1].received("elsewhere", 4)) == 4
    for device in devices:
        device.child.kill()
    for node in nodes:
        node.stop()

    sql = first.sql()
    rows = sql.execute("SELECT source, rooms, len(shards), recipients, told, not_recorded FROM messaging_cluster").fetchall()
    to_1 = [("http", 2), ("http", 2), ("node", 2), ("node", 2), ("node", 2), ("emitter 4-5", 2), ("emitter 4-5", 2)]
    to_42 = [("http", 1), ("http", 1), ("node", 1), ("emitter 4-5", 1)]
    expected = [(source, ["user(1)"], told) for source, told in to_1] + [(source, ["user(42)"], told) for source, told in to_42]
    expected += [("emitter 1-3", ["user(nobody)", "user(1)"], 2), ("http", ["user(nobody)"], 0), ("emitter 4-5", ["user(nobody)"], 0)]
    assert sorted(rows) == sorted((source, rooms, 2, told, told, 0) for source, rooms, told in expected)

    told = sql.execute(questions["told"])
    columns = [column[0] for column in told.description]
    told = [dict(zip(columns, row)) for row in told.fetchall()]
    assert [row["outcome"] for row in told] == ["queued"] * 4, "user 42 was at one of the nodes, whichever node published"
    assert [row[2] for row in sql.execute(questions["nobody"]).fetchall()] == [["user(nobody)"]] * 2

    # The id of a message from Greyhound is that of its row there, on every node.
    ids = sql.execute("SELECT message_id FROM messaging_cluster WHERE source = 'http'").fetchall()
    origins = sql.execute("SELECT DISTINCT origin FROM messaging_message WHERE source = 'greyhound'").fetchall()
    assert sorted(ids) == sorted(origins) and len(ids) == 5
    assert sql.execute("SELECT DISTINCT publisher FROM messaging_cluster WHERE source LIKE 'emitter%'").fetchall() == [("emitter",)]

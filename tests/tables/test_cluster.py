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


def test_one_view_tells_what_became_of_a_message_on_all_nodes(nodes, redis):
    first, second = nodes
    devices = [node.clients() for node in nodes]
    for device in devices:
        assert device.login("device", "1") == "authenticated"
    first.emit("user(1)", args=["from Greyhound"])
    first.emit("user(1)", args=["from Greyhound"])
    members = subprocess.run(["node", ROOT / "tests/tables/members.mjs", str(redis)], capture_output=True, text=True, timeout=60)
    # The Node server's own client had connected when it began to publish: it has everything since.
    assert members.stdout == "5\n", members.stdout + members.stderr
    for device in devices:
        assert len(device.received("device", 7)) == 7
        device.child.kill()
    for node in nodes:
        node.stop()

    sql = first.sql()
    rows = sql.execute("SELECT source, event, len(shards), recipients, told FROM messaging_cluster ORDER BY time, source, recipients").fetchall()
    expected = [("http", 2), ("http", 2), ("node", 2), ("node", 2), ("node", 2), ("emitter 4-5", 2), ("emitter 4-5", 0), ("emitter 4-5", 2)]
    assert sorted(rows) == sorted((source, "message", 2, told, told) for source, told in expected)
    # The id of a message from Greyhound is that of its row there, on every node.
    ids = sql.execute("SELECT message_id FROM messaging_cluster WHERE source = 'http'").fetchall()
    origins = sql.execute("SELECT DISTINCT origin FROM messaging_message WHERE source = 'greyhound'").fetchall()
    assert sorted(ids) == sorted(origins) and len(ids) == 2
    assert sql.execute("SELECT DISTINCT publisher FROM messaging_cluster WHERE source LIKE 'emitter%'").fetchall() == [("emitter",)]

"""SIGKILL under load, again and again; then the tables are asked."""

import threading

from program import mint, until


def test_every_acknowledged_push_is_there_exactly_once(greyhound, questions):
    rounds, acked = 6, []
    for number in range(rounds):
        greyhound.start()
        acked += one_life(greyhound, number)
    greyhound.start()
    greyhound.stop()

    sql = greyhound.sql()
    recorded = [row[0] for row in sql.execute("SELECT data->>0 FROM messaging_push").fetchall()]
    assert len(acked) > rounds * 50
    assert len(recorded) == len(set(recorded)), "a push is there twice"
    assert set(acked) <= set(recorded), "an acknowledged push is missing"
    assert sql.execute("SELECT count(*), count(DISTINCT (shard, seq)) FROM messaging_push").fetchone() == (len(recorded),) * 2
    assert sql.execute(questions["missing"]).fetchall() == []
    assert sql.execute("SELECT count(*) FROM greyhound_gap WHERE reason = 'unclean_stop'").fetchone() == (rounds,)
    orphans = "SELECT count(*) FROM messaging_push p ANTI JOIN messaging_connection c ON c.shard = p.shard AND c.seq = p.connection_seq"
    assert sql.execute(orphans).fetchone() == (0,), "a push names a connection that is not there"


def one_life(greyhound, number):
    """Load until it is killed at some moment; the pushes that were acknowledged."""
    clients, answer = greyhound.clients(), {}
    load = dict(do="load", event="kill", prefix=str(number), clients=6, token=mint("1"))
    driver = threading.Thread(target=lambda: answer.update(clients.ask(**load)))
    driver.start()
    # Each life is longer than the one before: killed before a file is committed, after, and in the midst of it.
    enough = greyhound.topic("messaging.push")["end"] + 200 * (number + 1)
    until("load", lambda: greyhound.topic("messaging.push")["end"] >= enough)
    greyhound.kill()
    driver.join(60)
    clients.close()
    return answer["acked"]

"""What happens to Greyhound itself."""

import json
import signal
import tempfile
import threading
import urllib.error

from program import MORTAL, PROGRAM, until


def test_killed_in_the_midst_of_commits(greyhound):
    left_behind = 0
    for _ in range(8):
        greyhound.start()
        one_life(greyhound)
        left_behind += len(greyhound.staged())
    assert left_behind > 0, "no life ended in the midst of a commit"
    greyhound.start()
    check(greyhound)


def check(greyhound):
    """After a clean stop every acknowledged row is there once, and nothing is left behind."""
    greyhound.stop()
    rows = greyhound.rows()
    recorded = [data for _, data in rows]
    # The last rows of a life may be on disk although nobody was told so.
    assert len(recorded) == len(set(recorded)), "a row is there twice"
    assert set(greyhound.acknowledged) <= set(recorded), "an acknowledged row is missing"
    assert [seq for seq, _ in rows] == list(range(len(rows))), "seq has holes"
    assert greyhound.staged() == []


def publish(greyhound):
    """Rows without a pause until it is dead."""
    try:
        while True:
            greyhound.push(50)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        pass


def one_life(greyhound):
    """Rows without a pause until it is killed, when a commit has begun."""
    before = greyhound.committed()
    driver = threading.Thread(target=publish, args=[greyhound])
    driver.start()
    until("a commit", lambda: greyhound.committed() > before)
    until("a file on its way", greyhound.staged)
    greyhound.kill()
    driver.join(60)


def test_killed_at_each_step_of_a_commit(greyhound):
    """Each life begins with what the one before left behind."""
    greyhound.start().push()
    greyhound.stop()
    for step in ["write", "close", "rename", "renamed", "cursor", "committed"]:
        # The second time: it has committed before.
        greyhound.spawn([MORTAL], FAILPOINT=f"{step} messaging.push 2")
        until("the admin listener", lambda: greyhound.parts() is not None)
        publish(greyhound)
        died(greyhound)
        assert len(greyhound.staged("messaging.push")) == (1 if step in ("close", "rename") else 0), step
    greyhound.start()
    check(greyhound)
    recovered = "SELECT count(DISTINCT file_path) FROM {} WHERE recovered AND topic = 'messaging.push'"
    assert greyhound.query("greyhound.sink", recovered) == [(2,)], "of the lives that ended between rename and cursor"


def test_killed_at_each_step_of_marking_the_first_hour(greyhound, hdfs):
    marks = lambda: hdfs.files().glob(f"{greyhound.root}/*/dt=*/hour=*/shard=*/_FIRST_HOUR")
    for step in ["write", "rename", "renamed"]:
        greyhound.spawn([MORTAL], FAILPOINT=f"{step} _FIRST_HOUR 1")
        died(greyhound)
        assert bool(marks()) == (step == "renamed"), step
    greyhound.start().push()
    check(greyhound)
    assert len(marks()) == len({mark.split("/dt=")[0] for mark in marks()}) > 1, "one of each table"


def test_killed_at_each_step_of_closing_an_hour(greyhound, hdfs):
    with greyhound.hours_ago(1):
        greyhound.start().push()
        greyhound.stop()
    (file,) = hdfs.files().glob(f"{greyhound.root}/messaging.push/*/*/*/*.parquet")
    success = f"{file.rsplit('/', 1)[0]}/_SUCCESS"
    for step in ["write", "rename", "renamed"]:
        greyhound.spawn([MORTAL], FAILPOINT=f"{step} {success.removeprefix(greyhound.root + '/')} 1")
        died(greyhound)
        assert hdfs.files().exists(success) == (step == "renamed")
    greyhound.start().push()
    greyhound.all_committed()
    told = json.loads(hdfs.files().cat(success))
    assert (told["rows"], told["first"], told["last"], told["gaps"]) == (10, 0, 9, [])
    check(greyhound)


def died(greyhound):
    assert greyhound.child.wait(60) == -signal.SIGABRT, greyhound.log.read_text()


def test_the_program_that_is_shipped_cannot_be_told_to_die():
    assert b"FAILPOINT" in MORTAL.read_bytes()
    assert b"FAILPOINT" not in PROGRAM.read_bytes()


def test_a_data_directory_that_was_copied(greyhound):
    greyhound.start().push()
    greyhound.stop()
    with tempfile.TemporaryDirectory(prefix="greyhound-copy-") as home:
        copy = greyhound.copy(home)
        greyhound.start().push()
        greyhound.all_committed()
        copy.launch().push()
        why = copy.trouble("are not in this journal")
        assert "another process runs on a copy of this data directory" in why
        greyhound.push()
        greyhound.all_committed()
        assert copy.committed() == 10, "its cursor has not moved: the rows are in its journal"
        copy.stop()
    greyhound.check()

"""What happens to Greyhound itself."""

import tempfile
import threading
import urllib.error

from program import until


def test_killed_in_the_midst_of_commits(greyhound):
    left_behind = 0
    for _ in range(8):
        greyhound.start()
        one_life(greyhound)
        left_behind += len(greyhound.staged())
    assert left_behind > 0, "no life ended in the midst of a commit"
    greyhound.start()
    greyhound.stop()
    rows = greyhound.rows()
    recorded = [data for _, data in rows]
    # The last rows of a life may be on disk although nobody was told so.
    assert len(recorded) == len(set(recorded)), "a row is there twice"
    assert set(greyhound.acknowledged) <= set(recorded), "an acknowledged row is missing"
    assert [seq for seq, _ in rows] == list(range(len(rows))), "seq has holes"
    assert greyhound.staged() == []


def one_life(greyhound):
    """Rows without a pause until it is killed, when a commit has begun."""

    def publish():
        try:
            while True:
                greyhound.push(50)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass

    before = greyhound.committed()
    driver = threading.Thread(target=publish)
    driver.start()
    until("a commit", lambda: greyhound.committed() > before)
    until("a file on its way", greyhound.staged)
    greyhound.kill()
    driver.join(60)


def test_a_data_directory_that_was_copied(greyhound):
    greyhound.start().push()
    greyhound.stop()
    with tempfile.TemporaryDirectory(prefix="greyhound-copy-") as home:
        copy = greyhound.copy(home)
        greyhound.start().push()
        greyhound.all_committed()
        copy.launch().push()
        why = copy.trouble("are not this journal's")
        assert "another process runs on a copy of this data directory" in why
        greyhound.push()
        greyhound.all_committed()
        assert copy.committed() == 10, "its cursor has not moved: the rows are in its journal"
        copy.stop()
    greyhound.check()

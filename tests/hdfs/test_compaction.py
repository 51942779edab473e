"""Closed hours are compacted, and proved to be complete from HDFS alone; whoever dies in the midst, no row is missing or double."""

import re
import subprocess
import time
from datetime import datetime, timedelta, timezone

from conftest import USER

from program import PROGRAM, until

TOPIC = "messaging.push"


def history(greyhound, hours, files=4):
    """That many files of an hour that is over."""
    with greyhound.hours_ago(hours):
        greyhound.start()
        for _ in range(files):
            greyhound.push(50)
            greyhound.all_committed()
        greyhound.stop()


def files(greyhound):
    """The table's files by directory."""
    found = {}
    for path in greyhound.hdfs.files().glob(f"{greyhound.root}/{TOPIC}/*/*/*/*.parquet"):
        found.setdefault(path.rsplit("/", 1)[0], []).append(path)
    return found


def on_their_way(greyhound):
    """Directories of compactions that are in staging."""
    return [path for end in ("new", "old") for path in greyhound.hdfs.files().glob(f"{greyhound.root}/_staging/*/{TOPIC}/*.{end}")]


def compacted(greyhound):
    return all(len(names) == 1 for names in files(greyhound).values()) and not on_their_way(greyhound)


def verify(greyhound):
    """What `greyhound tables verify` says, and its exit status."""
    done = subprocess.run([PROGRAM, "tables", "verify"], cwd=greyhound.home, env=greyhound.env, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_a_closed_hour_becomes_one_file_with_the_same_rows(greyhound):
    history(greyhound, 2)
    before = greyhound.rows()
    assert [len(names) for names in files(greyhound).values()] == [4]
    greyhound.start()
    until("the hour to be compacted", lambda: compacted(greyhound))
    assert greyhound.rows() == before
    status, said = verify(greyhound)
    assert status == 0, said
    greyhound.push()
    greyhound.all_committed()
    greyhound.check()


def test_killed_in_the_midst_of_compactions(greyhound):
    caught = 0
    for hours in range(7, 1, -1):
        with greyhound.hours_ago(hours):
            greyhound.start()
            for _ in range(4):
                greyhound.push(50)
                greyhound.all_committed()
            greyhound.stop()
        # An hour later: the one before is over.
        with greyhound.hours_ago(hours - 1):
            greyhound.launch()
            until("a compaction", lambda: on_their_way(greyhound) or compacted(greyhound))
            greyhound.kill()
            caught += len(on_their_way(greyhound)) > 0
            status, said = verify(greyhound)
            assert status == 0, said
    assert caught > 0, "no life ended in the midst of a compaction"
    greyhound.start()
    until("all hours to be compacted", lambda: compacted(greyhound))
    status, said = verify(greyhound)
    assert status == 0, said
    greyhound.check()


def test_a_node_that_died_between_the_two_renames_and_never_came_back(greyhound):
    history(greyhound, 2)
    greyhound.start()
    until("the hour to be compacted", lambda: compacted(greyhound))
    greyhound.stop()
    rows, (directory,) = greyhound.rows(), files(greyhound)
    hdfs, shard = greyhound.hdfs.files(), directory.rsplit("shard=", 1)[1]
    day, hour = re.search(r"dt=(.*)/hour=(..)", directory).groups()
    begun = int(datetime.fromisoformat(f"{day}T{hour}:00:00+00:00").timestamp())
    aside = f"{greyhound.root}/_staging/{shard}/{TOPIC}/{begun}-0000000000000000-1.{begun // 3600}.old"
    hdfs.mv(directory, aside)
    assert files(greyhound) == {}
    status, said = verify(greyhound)
    assert status == 0, f"its rows are in staging: {said}"
    assert f"restored {TOPIC}/" in greyhound.run("tables", "repair")
    assert greyhound.rows() == rows
    assert greyhound.run("tables", "repair").endswith(": repaired: 0\n")
    greyhound.hdfs.webhdfs(directory, "SETOWNER", owner=USER)
    greyhound.start()
    greyhound.check()


def test_a_file_that_is_deleted_is_named(greyhound):
    history(greyhound, 2)
    lost = sorted(path for paths in files(greyhound).values() for path in paths)[1]
    greyhound.hdfs.files().rm(lost)
    status, said = verify(greyhound)
    assert status == 1
    assert "rows 50 to 99 are missing" in said, said


def test_files_in_the_place_of_directories_are_named(greyhound):
    """HDFS lists a file as itself, where a local file system refuses."""
    history(greyhound, 2)
    hdfs = greyhound.hdfs.files()
    day = next(iter(files(greyhound))).split("/hour=")[0]
    for stray in [f"{greyhound.root}/{TOPIC}/dt=2020-01-01", f"{day}/x.parquet", f"{greyhound.root}/_staging/gone-00000001"]:
        hdfs.pipe(stray, b"a file")
    status, said = verify(greyhound)
    assert status == 1 and f"{TOPIC}/dt=2020-01-01 is not Greyhound's" in said and "/x.parquet is not Greyhound's" in said, said
    done = subprocess.run([PROGRAM, "tables", "repair"], cwd=greyhound.home, env=greyhound.env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "_staging/gone-00000001: " in done.stdout and "move away" in done.stdout, done
    greyhound.start().push()
    greyhound.all_committed()


def test_days_that_are_old_are_removed(greyhound):
    # Of a node that is no more; the one that removes it has rows of today.
    old = f"{greyhound.root}/{TOPIC}/dt=2020-01-01"
    greyhound.hdfs.mkdir(f"{greyhound.root}/{TOPIC}", USER)
    greyhound.hdfs.mkdir(f"{old}/hour=00/shard=gone-00000001", USER)
    for directory in (old, f"{old}/hour=00"):
        greyhound.hdfs.webhdfs(directory, "SETOWNER", owner=USER)
    # Somebody's file, which HDFS would delete as it does a directory.
    note = f"{greyhound.root}/{TOPIC}/dt=2019-01-01"
    with greyhound.hdfs.files().open(note, "wb") as file:
        file.write(b"a note")
    # Of days that are kept there must be two: else the clock has leapt.
    yesterday = datetime.fromtimestamp(time.time() + greyhound.clock, timezone.utc) - timedelta(days=1)
    greyhound.hdfs.mkdir(f"{greyhound.root}/{TOPIC}/dt={yesterday:%Y-%m-%d}", USER)
    greyhound.settings["GREYHOUND__PLUGINS__ACTIVITY__RETENTION"] = "400days"
    greyhound.start().push()
    greyhound.all_committed()
    until("the old day to be removed", lambda: not greyhound.hdfs.files().exists(old))
    assert greyhound.hdfs.files().exists(note)
    greyhound.check()

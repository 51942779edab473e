"""Whatever fails in HDFS: the sink waits, says so, catches up by itself; every row is there once."""

import subprocess
import tempfile
import time
import urllib.error

import pytest
from cluster import DATANODES
from conftest import flowing

from program import PROGRAM, until


def test_rows_arrive(greyhound):
    greyhound.start()
    for _ in range(3):
        greyhound.push(100)
        greyhound.all_committed()
    greyhound.check()


def test_namenode_refuses_connections(greyhound, hdfs):
    greyhound.start().push()
    greyhound.all_committed()
    hdfs.kill("nn")
    greyhound.push()
    greyhound.trouble("rows wait in the journal until the store works again")
    greyhound.push()
    hdfs.launch("nn")
    greyhound.all_committed()
    assert 1 <= greyhound.said('the store fails; rows wait in the journal topic="messaging.push"') <= 2, "once for each cause: unreachable, then perhaps safe mode"
    greyhound.check()


def test_namenode_refuses_connections_from_the_start(greyhound, hdfs):
    hdfs.kill("nn")
    greyhound.launch().push()
    greyhound.trouble("Connection refused")
    hdfs.launch("nn")
    greyhound.all_committed()
    greyhound.check()


def test_namenode_paused(greyhound, hdfs):
    greyhound.start().push()
    greyhound.all_committed()
    hdfs.pause("nn")
    greyhound.push()
    greyhound.trouble("no answer within 10s")
    # What was asked meanwhile is carried out now.
    hdfs.resume("nn")
    greyhound.all_committed()
    greyhound.check()


def test_datanode_killed_then_new_files(greyhound, hdfs):
    greyhound.start().push()
    hdfs.kill("dn1")
    for _ in range(3):
        greyhound.push()
        greyhound.all_committed()
    hdfs.launch("dn1")
    greyhound.push()
    greyhound.check()


# All three have every block: which is the first of a block's, the second and the third, changes from file to file.
@pytest.mark.parametrize("node", DATANODES)
def test_first_or_2nd_or_3rd_datanode_paused(greyhound, hdfs, node):
    greyhound.start().push()
    greyhound.all_committed()
    hdfs.pause(node)
    for _ in range(2):
        greyhound.push()
        greyhound.all_committed()
    hdfs.resume(node)
    greyhound.push()
    greyhound.check()


def test_a_datanode_killed_mid_write(greyhound, hdfs):
    greyhound.start()
    with flowing(greyhound):
        until("a file on its way", greyhound.staged)
        hdfs.kill("dn2")
    greyhound.all_committed()
    greyhound.check()


def test_namenode_killed_while_a_mutation_is_in_flight(greyhound, hdfs):
    greyhound.start()
    for _ in range(3):
        with flowing(greyhound):
            until("a file on its way", greyhound.staged)
            hdfs.kill("nn")
            hdfs.launch("nn")
        greyhound.all_committed()
        hdfs.heal()
    greyhound.check()


def test_rename_onto_an_existing_file(greyhound, hdfs):
    hdfs.kill("nn")
    greyhound.launch().push()
    greyhound.trouble("Connection refused")
    greyhound.kill()
    hdfs.heal()
    with tempfile.TemporaryDirectory(prefix="greyhound-copy-") as home:
        # What the first one commits, the other finds, with the same rows: as one that died between the rename and its cursor.
        copy = greyhound.copy(home)
        greyhound.start()
        greyhound.all_committed()
        greyhound.stop()
        copy.acknowledged = list(greyhound.acknowledged)
        copy.launch()
        until("the rows to be found", lambda: copy.committed() == len(copy.acknowledged))
        # But its own greyhound.sink has other rows than the first one's.
        assert "copy of this data directory" in copy.trouble("greyhound.sink/")
        copy.push()
        until("more rows to be committed", lambda: copy.committed() == len(copy.acknowledged))
        copy.check()


def test_rename_source_or_parent_missing(greyhound, hdfs):
    greyhound.start()

    def failed():
        for file in greyhound.staged():
            try:
                hdfs.webhdfs(file, "DELETE", method="DELETE")
            except urllib.error.HTTPError:
                pass  # It was renamed meanwhile.
        return greyhound.said("the store fails")

    with flowing(greyhound):
        until("a file to be missed", failed)
    greyhound.all_committed()
    greyhound.check()


def test_own_process_killed_mid_write(greyhound, hdfs):
    """The file that was left open is held by a lease of a writer that is no more; `recover_lease` would cut it."""
    greyhound.start()
    left = []
    while not left:
        with flowing(greyhound, until_killed=True):
            until("a file on its way", greyhound.staged)
            greyhound.kill()
        left = greyhound.staged()
        greyhound.start()
    until("what was left to be removed", lambda: not set(left) & set(greyhound.staged()))
    greyhound.stop()
    recorded = [data for _, data in greyhound.rows()]
    assert set(greyhound.acknowledged) <= set(recorded) and len(recorded) == len(set(recorded))
    # The NameNode says so where anybody asks it to recover a lease.
    assert "recoverLease" not in hdfs.log("nn").read_text()


def test_all_datanodes_killed(greyhound, hdfs):
    greyhound.start().push()
    greyhound.all_committed()
    hdfs.kill(*DATANODES)
    greyhound.push()
    greyhound.trouble("rows wait in the journal until the store works again")
    for node in DATANODES:
        hdfs.launch(node)
    greyhound.push()
    greyhound.all_committed()
    greyhound.check()


def test_safe_mode(greyhound, hdfs):
    greyhound.start().push()
    hdfs.safe_mode("enter")
    greyhound.push()
    greyhound.trouble("SafeModeException")
    hdfs.safe_mode("leave")
    greyhound.all_committed()
    greyhound.check()


def test_quota(greyhound, hdfs):
    greyhound.start().push()
    greyhound.all_committed()
    hdfs.webhdfs(greyhound.root, "SETQUOTA", namespacequota=1 << 40, storagespacequota=1 << 20)
    greyhound.push()
    assert "raise the quota" in greyhound.trouble("DSQuotaExceededException")
    hdfs.webhdfs(greyhound.root, "SETQUOTA", namespacequota=1 << 40, storagespacequota=1 << 40)
    greyhound.all_committed()
    greyhound.check()


def test_permission(greyhound, hdfs):
    greyhound.start().push()
    greyhound.all_committed()
    hdfs.webhdfs(greyhound.root, "SETOWNER", owner="somebody")
    hdfs.webhdfs(greyhound.root, "SETPERMISSION", permission=700)
    greyhound.push()
    assert "let Greyhound's user write there" in greyhound.trouble("AccessControlException")
    hdfs.webhdfs(greyhound.root, "SETOWNER", owner="greyhound")
    greyhound.all_committed()
    greyhound.check()


def test_a_stop_while_hdfs_is_away_ends_in_time(greyhound, hdfs):
    greyhound.start().push()
    greyhound.all_committed()
    hdfs.pause("nn")
    greyhound.push()
    started = time.monotonic()
    greyhound.stop()
    assert time.monotonic() - started < 32
    hdfs.resume("nn")
    greyhound.start()
    greyhound.all_committed()
    greyhound.check()


def test_foreign_things_where_a_file_belongs(greyhound, hdfs):
    """Each is told for what it is; when it is gone, the table goes on without a restart."""
    greyhound.start()
    for is_directory, said in [(False, "it is no whole Parquet file"), (True, "this is a directory; expected a file")]:
        greyhound.push()
        greyhound.all_committed()
        (last,) = hdfs.files().glob(f"{greyhound.root}/messaging.push/dt=*/*/*/*.parquet")[-1:]
        path = f"{last.rsplit('/', 1)[0]}/{len(greyhound.acknowledged):020}.parquet"
        if is_directory:
            hdfs.webhdfs(path, "MKDIRS")
        else:
            hdfs.files().pipe(path, b"any bytes")
        greyhound.push()
        why = greyhound.trouble(said)
        assert path.rsplit("/", 1)[1] in why and "move away" in why and "copy of this data directory" not in why, why
        hdfs.webhdfs(path, "DELETE", method="DELETE", recursive="true")
        greyhound.all_committed()
    greyhound.check()


def test_all_copies_of_a_file_corrupt(greyhound, hdfs):
    """The file before the next one: the table looks at it when it starts, and sets it aside. A repair writes its rows again."""
    with greyhound.hours_ago(1):
        greyhound.start().push()
        greyhound.all_committed()
        greyhound.stop()
        (path,) = hdfs.files().glob(f"{greyhound.root}/messaging.push/dt=*/*/*/*.parquet")
        corrupt(hdfs, path)
        greyhound.launch().push()
        why = greyhound.trouble("no DataNode can read its copy")
        assert path.rsplit("/", 1)[1] in why and "DatanodeInfoProto" not in why, why
        until("the next file to be committed", lambda: greyhound.committed() == 20, 300)
        greyhound.ready()
        assert len(hdfs.files().glob(f"{greyhound.root}/_damaged/messaging.push/dt=*/*/*/*")) == 1
        greyhound.stop()
        assert greyhound.rows() == list(enumerate(greyhound.acknowledged))[10:]
        done = subprocess.run([PROGRAM, "tables", "verify"], cwd=greyhound.home, env=greyhound.env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1 and "rows 0 to 9 are missing" in done.stdout, done.stdout + done.stderr
        greyhound.start()
        assert "rows restored from the journal: 10" in greyhound.run("tables", "repair", "--from-journal")
        greyhound.stop()
        assert greyhound.rows() == list(enumerate(greyhound.acknowledged))
    greyhound.start()
    until("the hour to be closed", lambda: hdfs.files().exists(f"{path.rsplit('/', 1)[0]}/_SUCCESS"))
    greyhound.check()


def corrupt(hdfs, path):
    """Overwrites every DataNode's copy of a file."""
    content = hdfs.files().cat(path)
    copies = [it for it in hdfs.home.rglob("blk_*") if it.suffix != ".meta" and it.stat().st_size == len(content) and it.read_bytes() == content]
    assert len(copies) == len(DATANODES)
    for copy in copies:
        copy.write_bytes(b"x" * len(content))

"""Whatever fails in HDFS: the sink waits, says so, catches up by itself; every row is there once."""

import time

from cluster import DATANODES


def test_rows_arrive(greyhound):
    greyhound.start()
    for _ in range(3):
        greyhound.push(100)
        greyhound.all_committed()
    greyhound.check()


def test_a_namenode_that_is_killed_and_comes_back(greyhound, hdfs):
    greyhound.start().push()
    greyhound.all_committed()
    hdfs.kill("nn")
    greyhound.push()
    greyhound.trouble("rows wait in the journal until the store works again")
    greyhound.push()
    hdfs.launch("nn")
    greyhound.all_committed()
    assert 1 <= greyhound.said("the store fails") <= 2, "once for each cause: unreachable, then perhaps safe mode"
    greyhound.check()


def test_a_namenode_that_is_not_there_at_the_start(greyhound, hdfs):
    hdfs.kill("nn")
    greyhound.launch().push()
    greyhound.trouble("Connection refused")
    hdfs.launch("nn")
    greyhound.all_committed()
    greyhound.check()


def test_a_namenode_that_hangs(greyhound, hdfs):
    greyhound.start().push()
    greyhound.all_committed()
    hdfs.pause("nn")
    greyhound.push()
    greyhound.trouble("no answer within 10s")
    # What was asked meanwhile is carried out now.
    hdfs.resume("nn")
    greyhound.all_committed()
    greyhound.check()


def test_a_datanode_that_is_killed(greyhound, hdfs):
    greyhound.start().push()
    hdfs.kill("dn1")
    for _ in range(3):
        greyhound.push()
        greyhound.all_committed()
    hdfs.launch("dn1")
    greyhound.push()
    greyhound.check()


def test_a_datanode_that_hangs(greyhound, hdfs):
    greyhound.start().push()
    greyhound.all_committed()
    hdfs.pause("dn1")
    greyhound.push()
    greyhound.all_committed()
    hdfs.resume("dn1")
    greyhound.push()
    greyhound.check()


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


def test_a_quota_that_is_used_up(greyhound, hdfs):
    greyhound.start().push()
    greyhound.all_committed()
    hdfs.webhdfs(greyhound.root, "SETQUOTA", namespacequota=1 << 40, storagespacequota=1 << 20)
    greyhound.push()
    assert "raise the quota" in greyhound.trouble("DSQuotaExceededException")
    hdfs.webhdfs(greyhound.root, "SETQUOTA", namespacequota=1 << 40, storagespacequota=1 << 40)
    greyhound.all_committed()
    greyhound.check()


def test_a_directory_that_may_not_be_written(greyhound, hdfs):
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

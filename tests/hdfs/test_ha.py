"""Two NameNodes, one active: whichever fails over to the other and how, every acknowledged row is there once."""

import pytest
from cluster import HighlyAvailable
from conftest import flowing, running


@pytest.fixture(scope="module")
def cluster():
    with running(HighlyAvailable) as hdfs:
        yield hdfs


def test_the_nameservice_is_well(greyhound):
    checks = greyhound.checks()
    assert checks["reachable"][1].startswith("the nameservice tables answers")
    assert {verdict for verdict, _ in checks.values()} == {"ok"}


def test_a_graceful_fail_over(greyhound, hdfs):
    greyhound.start()
    for _ in range(2):
        with flowing(greyhound):
            hdfs.fail_over()
        greyhound.all_committed()
    greyhound.check()


def test_an_active_namenode_that_is_killed(greyhound, hdfs):
    greyhound.start()
    with flowing(greyhound):
        active = hdfs.active
        hdfs.kill(active)
        hdfs.take_over(hdfs.other(active))
    greyhound.all_committed()
    greyhound.check()


def test_an_active_namenode_that_hangs_and_comes_back(greyhound, hdfs):
    greyhound.start()
    with flowing(greyhound):
        active = hdfs.active
        hdfs.pause(active)
        hdfs.take_over(hdfs.other(active))
    greyhound.all_committed()
    hdfs.resume(active)
    greyhound.push()
    greyhound.all_committed()
    # A DataNode asks the NameNodes in their order, and believes the first that takes itself for active.
    hdfs.ousted(active)
    greyhound.check()


def test_no_active_namenode(greyhound, hdfs):
    greyhound.start().push()
    greyhound.all_committed()
    hdfs.admin("-transitionToStandby", hdfs.leader)
    greyhound.push()
    greyhound.trouble("StandbyException")
    hdfs.take_over(hdfs.leader)
    greyhound.all_committed()
    greyhound.check()

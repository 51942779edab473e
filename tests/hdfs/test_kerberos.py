"""HDFS with Kerberos and encryption: with a keytab or a ticket that is there, as another user, and when tickets run out."""

import re
import tempfile
import time

import pytest
from cluster import Secured
from conftest import USER, running
from kdc import Kdc, missing

from program import free_port, until

# Of the tickets of the user greyhound, in seconds: they run out within a test.
LIFE = 10


@pytest.fixture(scope="module")
def kdc():
    if absent := missing():
        pytest.skip(f"no MIT KDC here: {', '.join(absent)} not installed (Debian: krb5-kdc krb5-admin-server krb5-user)")
    with tempfile.TemporaryDirectory(prefix="greyhound-kdc-") as home:
        kdc = Kdc(home)
        try:
            yield kdc.start()
        finally:
            kdc.stop()


@pytest.fixture(scope="module")
def cluster(kdc):
    with running(Secured, kdc) as hdfs:
        yield hdfs


@pytest.fixture(scope="module")
def keytab(kdc):
    return kdc.keytab(USER, USER, life=f"{LIFE} seconds")


@pytest.fixture
def by_keytab(greyhound, kdc, keytab):
    return greyhound.configure(principal=f"{USER}@{kdc.realm}", keytab=keytab)


def test_a_keytab(by_keytab):
    checks = by_keytab.checks()
    assert {verdict for verdict, _ in checks.values()} == {"ok"}
    assert checks["identity"][1] == f"writes as {USER}"
    by_keytab.start().push()
    by_keytab.all_committed()
    by_keytab.check()


def test_a_keytabs_ticket_is_renewed(by_keytab, hdfs, kdc):
    by_keytab.start().push()
    by_keytab.all_committed()
    begun, logins = time.time(), kdc.logins(USER)
    while time.time() < begun + LIFE + 3:
        by_keytab.push()
        by_keytab.all_committed()
    # A connection that is there goes on; a new one needs a ticket.
    hdfs.kill("nn")
    by_keytab.push()
    by_keytab.trouble("Connection refused")
    hdfs.launch("nn")
    by_keytab.all_committed()
    assert kdc.logins(USER) > logins
    by_keytab.check()


def test_a_ticket_cache(greyhound, hdfs, kdc, keytab):
    greyhound.settings |= kdc.login(USER, keytab)
    begun = time.time()
    greyhound.start().push()
    greyhound.all_committed()
    until("the ticket to run out", lambda: time.time() > begun + LIFE + 3)
    hdfs.kill("nn")
    hdfs.launch("nn")
    greyhound.push()
    why = greyhound.trouble("Kerberos: ")
    assert "expired" in why and "a valid ticket in the cache" in why
    kdc.login(USER, keytab)
    greyhound.all_committed()
    greyhound.check()


def test_no_ticket(greyhound):
    greyhound.settings["KRB5CCNAME"] = f"FILE:{greyhound.home}/nothing"
    checks = greyhound.checks(1)
    assert checks["reachable"][0] == "ok", checks
    assert checks["identity"][0] == "FAILS" and "log Greyhound in with Kerberos" in checks["identity"][1], checks
    assert checks["writable"] == ("not tried",)
    greyhound.launch().push()
    assert "log Greyhound in with Kerberos" in greyhound.trouble("Kerberos: ")


@pytest.mark.parametrize("what", ["of somebody else", "with an old key"])
def test_a_keytab_that_does_not_open_the_door(what, by_keytab, kdc):
    match what:
        case "of somebody else":
            by_keytab.configure(keytab=kdc.keytab("other", "other"))
        case "with an old key":
            by_keytab.configure(principal=f"rotated@{kdc.realm}", keytab=kdc.keytab("rotated", "rotated"))
            kdc.run("kadmin.local", "-q", "cpw -randkey rotated")
    checks = by_keytab.checks(1)
    assert checks["identity"][0] == "FAILS" and "log Greyhound in with Kerberos" in checks["identity"][1], checks


def test_a_kdc_that_is_away(by_keytab, kdc):
    conf = by_keytab.home / "krb5.conf"
    conf.write_text(re.sub(r"kdc = 127.0.0.1:\d+", f"kdc = 127.0.0.1:{free_port()}", kdc.conf.read_text()))
    by_keytab.settings["KRB5_CONFIG"] = str(conf)
    checks = by_keytab.checks(1)
    assert checks["reachable"][0] == "FAILS" and "Cannot contact any KDC" in checks["reachable"][1], checks


def test_impersonation(by_keytab, hdfs):
    by_keytab.configure(user="activity")
    hdfs.webhdfs(by_keytab.root, "SETOWNER", owner="activity")
    assert by_keytab.checks()["identity"][1] == "writes as activity"
    by_keytab.start().push()
    by_keytab.all_committed()
    by_keytab.check()


def test_impersonation_of_somebody_else(by_keytab):
    checks = by_keytab.configure(user="director").checks(1)
    assert checks["reachable"][0] == "ok" and checks["identity"][0] == "FAILS", checks
    assert "May Greyhound's principal impersonate plugins.activity.hdfs.user (hadoop.proxyuser)?" in checks["identity"][1]


def test_a_client_without_kerberos(greyhound, hdfs):
    (greyhound.home / "core-site.xml").write_text("<configuration/>")
    greyhound.settings |= {"HADOOP_CONF_DIR": str(greyhound.home)}
    checks = greyhound.checks(1)
    assert checks["reachable"][0] == "ok" and checks["identity"][0] == "FAILS", checks
    assert "Does it require Kerberos (hadoop.security.authentication)?" in checks["identity"][1]

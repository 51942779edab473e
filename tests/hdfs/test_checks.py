"""`greyhound validate --connect` on a real HDFS: a verdict for each thing, with what to do, and nothing left behind."""

from conftest import USER

NAMES = ["reachable", "identity", "writable", "renamable", "room", "clock", "as configured"]


def left_of(checks, name):
    """What could not be tried after `name` failed."""
    assert checks[name][0] == "FAILS", checks
    return [name for name, verdict in checks.items() if verdict == ("not tried",)]


def test_all_is_well(greyhound, hdfs):
    hdfs.webhdfs(greyhound.root, "SETQUOTA", namespacequota=1 << 20, storagespacequota=1 << 30)
    checks = greyhound.checks()
    assert {name: verdict for name, (verdict, _) in checks.items()} == dict.fromkeys(NAMES, "ok")
    assert checks["reachable"][1].startswith(f"the NameNode of {hdfs.url} answers")
    assert checks["identity"][1] == f"writes as {USER}"
    assert "leaves 1024.0 MiB" in checks["room"][1] or "leaves 1.0 GiB" in checks["room"][1]
    assert "a file of 256.0 MiB takes 768.0 MiB" in checks["room"][1], "three copies"
    assert hdfs.files().ls(greyhound.root) == []


def test_a_directory_that_is_not_there_yet_is_not_there_afterwards(greyhound, hdfs):
    store = "GREYHOUND__PLUGINS__ACTIVITY__STORE"
    greyhound.settings[store] += "/below/it"
    assert {verdict for verdict, _ in greyhound.checks().values()} == {"ok"}
    # Directories above the tables' own stay, as they would if the sink had made them.
    assert not hdfs.files().exists(f"{greyhound.root}/below/it")


def test_nothing_listens(greyhound, hdfs):
    hdfs.kill("nn")
    checks = greyhound.checks(1)
    assert left_of(checks, "reachable") == NAMES[1:]
    why = checks["reachable"][1]
    assert hdfs.url in why and "Connection refused" in why and "check that it runs" in why


def test_a_namenode_that_hangs(greyhound, hdfs):
    hdfs.pause("nn")
    checks = greyhound.checks(1)
    assert left_of(checks, "reachable") == NAMES[1:]
    assert "no answer within 10s: something there hangs" in checks["reachable"][1]


def test_a_user_that_may_not_write(greyhound):
    checks = greyhound.configure(user="nobody-in-particular").checks(1)
    assert left_of(checks, "writable") == NAMES[3:]
    why = checks["writable"][1]
    assert "Permission denied: user=nobody-in-particular" in why and "let Greyhound's user write there" in why


def test_safe_mode(greyhound, hdfs):
    hdfs.safe_mode("enter")
    checks = greyhound.checks(1)
    assert left_of(checks, "writable") == NAMES[3:]
    assert "SafeModeException" in checks["writable"][1] and "make it leave" in checks["writable"][1]


def test_a_quota_of_a_directory_above(greyhound, hdfs):
    hdfs.webhdfs(greyhound.root, "SETQUOTA", namespacequota=1 << 20, storagespacequota=700 << 20)
    greyhound.settings["GREYHOUND__PLUGINS__ACTIVITY__STORE"] += "/tables"
    checks = greyhound.checks(1)
    assert left_of(checks, "room") == []
    assert f"the quota of {greyhound.root} leaves" in checks["room"][1]
    assert "a file of 256.0 MiB takes 768.0 MiB: raise it" in checks["room"][1]
    assert [name for name, (verdict, _) in checks.items() if verdict == "FAILS"] == ["room"]


def test_too_few_names(greyhound, hdfs):
    hdfs.webhdfs(greyhound.root, "SETQUOTA", namespacequota=100, storagespacequota=1 << 40)
    checks = greyhound.checks(1)
    assert "more files and directories may be created" in checks["room"][1]


def test_a_quota_without_room_for_a_block(greyhound, hdfs):
    hdfs.webhdfs(greyhound.root, "SETQUOTA", namespacequota=1 << 20, storagespacequota=1 << 20)
    checks = greyhound.checks(1)
    assert left_of(checks, "writable") == NAMES[3:]
    assert "DSQuotaExceededException" in checks["writable"][1] and "raise the quota" in checks["writable"][1]
    assert hdfs.files().ls(greyhound.root) == []


def test_a_group_that_the_user_is_no_member_of(greyhound, hdfs):
    checks = greyhound.configure(group="accountants").checks(1)
    assert left_of(checks, "writable") == NAMES[3:]
    assert "give the tables' directory the group plugins.activity.hdfs.group" in checks["writable"][1]


def test_an_acl_that_changes_what_is_configured(greyhound, hdfs):
    hdfs.webhdfs(greyhound.root, "SETACL", aclspec="user::rwx,group::r-x,other::r-x,default:user::rwx,default:group::r-x,default:other::---")
    checks = greyhound.checks(1)
    assert "a file's permission is 640 instead of 644" in checks["as configured"][1]

"""What is configured is what the files in HDFS have."""

from conftest import USER


def described(hdfs, path):
    status = hdfs.status(path)
    return {key: status[key] for key in ("owner", "group", "permission", "replication", "blockSize")}


def below(greyhound):
    """Has the tables in a directory that is not there yet; the one that is."""
    parent = greyhound.root
    greyhound.root += "/tables"
    greyhound.settings["GREYHOUND__PLUGINS__ACTIVITY__STORE"] += "/tables"
    return parent


def committed(greyhound):
    """A file of the tables, and the directories that lead to it."""
    greyhound.start().push()
    greyhound.all_committed()
    greyhound.check()
    (file,) = greyhound.hdfs.files().glob(f"{greyhound.root}/messaging.push/*/*/*/*.parquet")
    names = file.removeprefix(f"{greyhound.root}/").split("/")[:-1]
    return file, [greyhound.root] + ["/".join([greyhound.root, *names[: n + 1]]) for n in range(len(names))]


def test_by_default(greyhound, hdfs):
    group = hdfs.status(below(greyhound))["group"]
    file, directories = committed(greyhound)
    assert described(hdfs, file) == {"owner": USER, "group": group, "permission": "644", "replication": 3, "blockSize": 1 << 20}
    for directory in directories:
        assert hdfs.status(directory)["permission"] == "755", directory


def test_as_set(greyhound, hdfs):
    hdfs.webhdfs(below(greyhound), "SETOWNER", owner="activity")
    greyhound.configure(
        user="activity", replication=2, block_size="4MiB", group="analysts", file_permission="640", directory_permission="750"
    )
    assert "files 640, group analysts, 2 copies" in greyhound.checks()["as configured"][1]
    file, directories = committed(greyhound)
    assert described(hdfs, file) == {
        "owner": "activity", "group": "analysts", "permission": "640", "replication": 2, "blockSize": 4 << 20,
    }  # fmt: skip
    for directory in directories:
        status = hdfs.status(directory)
        assert (status["group"], status["permission"]) == ("analysts", "750"), directory

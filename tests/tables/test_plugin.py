"""The project that `greyhound new plugin` makes: it builds outside of the source tree, passes its own tests, and runs."""

import json
import os
import re
import subprocess
import urllib.request

import pytest

from program import PROGRAM, ROOT, Greyhound, until

NAME = "web_shop"
# What is compiled for the project: it uses the workspace's target directory, in which all other crates are built already.
OURS = {"greyhound", "greyhound-activity", "greyhound-messaging", "greyhound-sdk", NAME}


class Shop(Greyhound):
    def __init__(self, home):
        super().__init__(home)
        self.command = [ROOT / "target/release" / NAME]

    def run(self, *args):
        done = subprocess.run([*self.command, *args], cwd=self.home, env=self.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def greet(self, name):
        body = json.dumps({"name": name}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin}/v1/{NAME}/greetings", body, {"content-type": "application/json"})
        return json.load(urllib.request.urlopen(request, timeout=10))


def new(directory, *args):
    return subprocess.run([PROGRAM, "new", "plugin", *args], cwd=directory, capture_output=True, text=True, timeout=60)


def cargo_test(project):
    """Builds the project and runs its tests, our crates without optimization: what is built is not measured."""
    quick = [f"--config=profile.release.package.{crate}.opt-level=0" for crate in sorted(OURS)]
    env = os.environ | {"CARGO_TARGET_DIR": str(ROOT / "target"), "CARGO_TERM_COLOR": "never"}
    command = ["cargo", "test", "--release", "--offline", *quick]
    done = subprocess.run(command, cwd=project, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_a_new_plugin_builds_tests_itself_and_runs(tmp_path):
    # The project is no part of a workspace in a directory above.
    (tmp_path / "Cargo.toml").write_text("[workspace]\n")
    made = new(tmp_path, NAME, "--path", ROOT)
    assert made.returncode == 0, made.stderr
    built = cargo_test(tmp_path / NAME)
    assert "warning" not in built.stderr, built.stderr
    assert set(re.findall(r"Compiling (\S+)", built.stderr)) <= OURS, built.stderr
    assert re.findall(r"test result: ok. (\d) passed", built.stdout).count("2") == 1, built.stdout

    shop = Shop(tmp_path / NAME)
    try:
        shop.start()
        assert [shop.greet(name) for name in ["Ann", "Bob"]] == [
            {"seq": 0, "text": "Welcome, Ann!"}, {"seq": 1, "text": "Welcome, Bob!"}]
        until("the metric", lambda: shop.metric(f"{NAME}_greetings_total") == 2)
        tailed = [json.loads(line) for line in shop.run("tail", f"{NAME}.greeting", "--from", "earliest", "--no-follow").splitlines()]
        assert [row["name"] for row in tailed] == ["Ann", "Bob"]
        assert f"{NAME}.greeting" in subprocess.run([PROGRAM, "topics"], cwd=shop.home, env=shop.env, capture_output=True, text=True, timeout=60).stdout
        shop.stop()
        assert shop.sql().execute(f"SELECT seq, name, text FROM {NAME}_greeting ORDER BY seq").fetchall() == [
            (0, "Ann", "Welcome, Ann!"), (1, "Bob", "Welcome, Bob!")]
        assert shop.run("tables", "verify")
        assert shop.run("validate")
        refused = subprocess.run([PROGRAM, "validate"], cwd=shop.home, env=shop.env, capture_output=True, text=True, timeout=60)
        assert refused.returncode == 2 and f"plugins.{NAME}: this program has no such plugin" in refused.stderr, refused.stderr
    finally:
        if shop.child and shop.child.poll() is None:
            shop.kill()


@pytest.mark.parametrize("args, told", [
    (["taken", "--path", ROOT], r"the directory .*/taken is not empty: move it away, or choose another name"),
    (["a-b", "--path", ROOT], r"'a-b' for '<NAME>': expected lower-case letters, digits and `_`"),
    (["topics", "--path", ROOT], r"the name is taken by Greyhound"),
    (["shop", "--path", "nowhere"], r"--path nowhere: No such file"),
    (["shop", "--path", "taken"], r"--path taken: it is not a checkout of Greyhound"),
])
def test_what_cannot_be_made_is_refused_with_a_reason(tmp_path, args, told):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").touch()
    refused = new(tmp_path, *args)
    assert refused.returncode != 0 and re.search(told, refused.stderr), refused.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["taken", "file"], "nothing is made"

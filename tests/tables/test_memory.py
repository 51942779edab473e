"""An hour whose rows take a hundred times as much memory as its files take of the disk."""

import json
import subprocess

from program import PROGRAM, until

TOPIC = "messaging.push"
ROWS, LETTERS = 900, 990_000
# What the process may have at a time (RLIMIT_DATA): beyond it an allocation fails, and the process dies.
LIMIT = 400 << 20


def test_compaction_and_verification_fit_into_less_memory_than_the_rows(greyhound):
    row = {"connection_seq": 0, "user_id": "1", "namespace": "/", "event": "test", "size_bytes": LETTERS, "data": "a" * LETTERS}
    with greyhound.hours_ago(2):
        greyhound.start()
        for _ in range(ROWS):
            greyhound.publish(TOPIC, [row])
        greyhound.stop()
    table = greyhound.home / "data/tables" / TOPIC
    files = list(table.rglob("*.parquet"))
    hour = files[0].parent
    assert len(files) > 1 and {file.parent for file in files} == {hour}
    on_disk = sum(file.stat().st_size for file in files)
    assert ROWS * LETTERS > 2 * LIMIT and on_disk < 16 << 20, f"the files have {on_disk} bytes"

    limited = ["prlimit", f"--data={LIMIT}", PROGRAM]
    greyhound.spawn(limited)
    success = hour / "_SUCCESS"
    is_compacted = lambda: greyhound.parts() == {} and success.exists() and json.loads(success.read_text())["compacted"]
    until("compaction", is_compacted, limit=120)
    greyhound.stop()
    assert len(list(hour.glob("*.parquet"))) == 1
    done = subprocess.run([*limited, "tables", "verify", "--values"], cwd=greyhound.home, env=greyhound.env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and f" {ROWS} " in done.stdout, done.stdout + done.stderr

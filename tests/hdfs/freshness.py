"""How soon rows are readable in HDFS: prints the median and the 99th percentile from append to readable.

tests/.venv/bin/python tests/hdfs/freshness.py [SECONDS]     (default: 60; after `tests/run hdfs` has set up what it needs)

Rows are published at 20,000 a second with `freshness = "5s"`; a row is readable when its file has its name.
"""

import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from cluster import Hdfs
from conftest import Program

BATCH, INTERVAL = 2000, 0.1


def publish(greyhound, until):
    due = time.monotonic()
    while time.monotonic() < until:
        greyhound.push(BATCH)
        due += INTERVAL
        time.sleep(max(0, due - time.monotonic()))


def watch(files, root, seen, over):
    """When each file was seen first. Looks once more when it is over."""
    last = False
    while not last:
        last = over.is_set()
        for path in files.glob(f"{root}/messaging.push/dt=*/hour=*/shard=*/*.parquet"):
            seen.setdefault(path, time.time())
        time.sleep(0.05)


def percentile(waits, part):
    """`waits` are pairs of seconds and how many rows waited so long."""
    left = part * sum(rows for _, rows in waits)
    for seconds, rows in sorted(waits):
        left -= rows
        if left <= 0:
            return seconds


def measure(hdfs, home, seconds):
    greyhound, seen, over = Program(home, hdfs, "/freshness"), {}, threading.Event()
    greyhound.settings["GREYHOUND__PLUGINS__ACTIVITY__FRESHNESS"] = "5s"
    watcher = threading.Thread(target=watch, args=[hdfs.files(), greyhound.root, seen, over])
    try:
        greyhound.start()
        watcher.start()
        publish(greyhound, time.monotonic() + seconds)
        greyhound.all_committed()
        over.set()
        watcher.join()
        appended = "SELECT filename, epoch_us(time) / 1e6, count(*) FROM {} GROUP BY ALL"
        waits = [(seen[file.removeprefix("webhdfs://")] - time, rows) for file, time, rows in greyhound.query("messaging.push", appended)]
        print(f"{sum(rows for _, rows in waits)} rows in {len(seen)} files: p50 {percentile(waits, 0.5):.2f} s, p99 {percentile(waits, 0.99):.2f} s")
    finally:
        over.set()
        greyhound.end()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="greyhound-hdfs-") as home, tempfile.TemporaryDirectory(prefix="greyhound-") as work:
        hdfs = Hdfs(home)
        try:
            measure(hdfs.start(), work, float(sys.argv[1]) if len(sys.argv) > 1 else 60)
        finally:
            hdfs.stop()

"""What clients notice of an HDFS that fails: 20 broadcasts a second to 1,000 of them, while it is well and while it is not.

tests/.venv/bin/python tests/hdfs/latency.py [ROUNDS]     (default: 3; after `tests/run hdfs` has set up what it needs)

Prints the row of `cargo bench --bench gateway -- paced` for each. A fault begins when the clients are connected and lasts until
they have got everything; the sink would commit every second. HDFS runs on the core of the load generator.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos import Chaos
from cluster import Hdfs

from program import ROOT

SECONDS = 20


def measure(hdfs, name, fault):
    store = f"{hdfs.url}/latency-{time.time_ns()}"
    env = os.environ | {"STORE": store, "SECONDS_EACH": str(SECONDS), "GREYHOUND__PLUGINS__ACTIVITY__FRESHNESS": "1s"}
    command = ["cargo", "bench", "--quiet", "--bench", "gateway", "--", "paced"]
    bench = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    # Started, connected and settled.
    time.sleep(5)
    with fault():
        time.sleep(SECONDS - 5)
    lines = bench.communicate()[0].splitlines()
    print(f"| {name} {lines[-1] if lines else '| failed'}", flush=True)
    hdfs.heal()


if __name__ == "__main__":
    os.sched_setaffinity(0, {1})
    subprocess.run(["cargo", "bench", "--quiet", "--no-run", "--bench", "gateway"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory(prefix="greyhound-hdfs-") as home:
        hdfs = Hdfs(home)
        chaos = Chaos(0, hdfs, None, None)
        faults = {
            "well": nullcontext,
            "NameNode paused": chaos.namenode_paused,
            "NameNode killed": chaos.namenode_killed,
            "two DataNodes killed": chaos.two_datanodes_killed,
            "safe mode": chaos.safe_mode,
        }
        try:
            hdfs.start()
            for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
                for name, fault in faults.items():
                    measure(hdfs, name, fault)
        finally:
            hdfs.stop()

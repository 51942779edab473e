"""A real HDFS on this machine: a NameNode and three DataNodes, each a process of its own, that can be killed and paused."""

import getpass
import json
import signal
import socket
import subprocess
import urllib.parse
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from xml.sax.saxutils import escape

import fsspec

from program import ROOT, until

JARS = ROOT / "tests/.hdfs/jars"
NAMENODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
DATANODE = "org.apache.hadoop.hdfs.server.datanode.DataNode"
DATANODES = ["dn1", "dn2", "dn3"]
ME = getpass.getuser()
JAVA = [
    "java", "-Xmx192m", "-Xms32m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xshare:auto",
    "-Djava.net.preferIPv4Stack=true", "--add-opens=java.base/java.lang=ALL-UNNAMED",
]  # fmt: skip


class Hdfs:
    """Starts nothing by itself; `home` is a directory for everything that it writes."""

    def __init__(self, home):
        self.home, self.children = Path(home), {}
        # Where in its log the present life of a node begins.
        self.begun = {}
        names = ["rpc", "http"] + [f"{dn}.{part}" for dn in DATANODES for part in ("data", "http", "ipc")]
        self.ports = dict(zip(names, free_ports(len(names))))
        self.url = f"hdfs://127.0.0.1:{self.ports['rpc']}"
        # The jars lack the pages of the web interface; the daemons insist on these folders.
        for pages in ("hdfs", "datanode", "secondary", "static"):
            (self.home / "web/webapps" / pages).mkdir(parents=True)
        for node in ["nn", *DATANODES]:
            self.configure(node)

    def configure(self, node):
        directory = self.home / "conf" / node
        directory.mkdir(parents=True)
        write(directory / "core-site.xml", {"fs.defaultFS": self.url, "hadoop.tmp.dir": self.home / "tmp" / node})
        write(directory / "hdfs-site.xml", COMMON | (self.namenode() if node == "nn" else self.datanode(node)))
        (directory / "log4j.properties").write_text(LOG4J)

    def namenode(self):
        return {
            "dfs.namenode.rpc-address": f"127.0.0.1:{self.ports['rpc']}",
            "dfs.namenode.http-address": f"127.0.0.1:{self.ports['http']}",
            "dfs.namenode.name.dir": f"file://{self.home}/data/nn",
            "dfs.namenode.secondary.http-address": "127.0.0.1:0",
            "dfs.namenode.handler.count": 6,
            "dfs.namenode.safemode.extension": 0,
            "dfs.namenode.safemode.min.datanodes": 1,
            # A DataNode that is gone is known to be within seconds instead of ten minutes.
            "dfs.namenode.heartbeat.recheck-interval": 1000,
            "dfs.namenode.stale.datanode.interval": 3000,
            "dfs.namenode.avoid.write.stale.datanode": "true",
            "dfs.namenode.avoid.read.stale.datanode": "true",
            "dfs.namenode.write.stale.datanode.ratio": "1.0",
            "dfs.namenode.redundancy.interval.seconds": 1,
            "dfs.namenode.datanode.registration.ip-hostname-check": "false",
        }

    def datanode(self, node):
        return {
            "dfs.namenode.rpc-address": f"127.0.0.1:{self.ports['rpc']}",
            "dfs.datanode.data.dir": f"file://{self.home}/data/{node}",
            "dfs.datanode.address": f"127.0.0.1:{self.ports[f'{node}.data']}",
            "dfs.datanode.http.address": f"127.0.0.1:{self.ports[f'{node}.http']}",
            "dfs.datanode.ipc.address": f"127.0.0.1:{self.ports[f'{node}.ipc']}",
            "dfs.datanode.hostname": "127.0.0.1",
            "dfs.blockreport.initialDelay": 0,
            "dfs.datanode.handler.count": 4,
            "dfs.datanode.scan.period.hours": -1,
            "dfs.datanode.directoryscan.interval": -1,
        }

    # === life ===

    def start(self):
        (self.home / "log").mkdir()
        self.java("nn", NAMENODE, "-format", "-nonInteractive", "-clusterId", "greyhound").check_returncode()
        self.launch("nn")
        # A DataNode that finds no NameNode sleeps five seconds before it tries again.
        until("the NameNode", self.answers, 60)
        for node in DATANODES:
            self.launch(node)
        self.healthy()
        return self

    def launch(self, node):
        main = NAMENODE if node == "nn" else DATANODE
        with self.log(node).open("ab") as log:
            self.begun[node] = log.tell()
            child = subprocess.Popen([*JAVA, "-cp", self.class_path(node), main], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.children[node] = child

    def kill(self, *nodes):
        for node in nodes:
            self.children[node].kill()
        for node in nodes:
            self.children.pop(node).wait()

    def pause(self, node):
        self.children[node].send_signal(signal.SIGSTOP)

    def resume(self, node):
        self.children[node].send_signal(signal.SIGCONT)

    def heal(self):
        """Whatever a test did: everything runs, and nothing is in safe mode."""
        for node in list(self.children):
            self.resume(node)
        for node in ["nn", *DATANODES]:
            if node not in self.children:
                self.launch(node)
        until("the NameNode", self.answers, 60)
        if self.state()["FSState"] != "Operational":
            self.safe_mode("leave")
        self.healthy()

    def stop(self):
        for child in self.children.values():
            child.kill()
        for child in self.children.values():
            child.wait()

    def class_path(self, node):
        return f"{self.home}/conf/{node}:{self.home}/web:{JARS}/*"

    def java(self, node, main, *args):
        command = [*JAVA, "-cp", self.class_path(node), main, *args]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        (self.home / "log" / f"{main.rsplit('.', 1)[1]}.out").write_text(done.stdout + done.stderr)
        return done

    # === state ===

    def healthy(self):
        """Waits until all of it can be used. The NameNode alone does not tell: it takes a dead DataNode for a live one for a while."""
        for node in DATANODES:
            until(f"{node} to register", lambda: self.registered(node), 60)
        until("three DataNodes", lambda: self.state()["NumLiveDataNodes"] == 3 and self.state()["FSState"] == "Operational", 60)

    def registered(self, node):
        with self.log(node).open("rb") as log:
            log.seek(self.begun[node])
            return b"successfully registered" in log.read()

    def log(self, node):
        return self.home / "log" / node

    def answers(self):
        assert self.children["nn"].poll() is None, self.log("nn").read_text()[-2000:]
        with socket.socket() as probe:
            return self.state() is not None and probe.connect_ex(("127.0.0.1", self.ports["rpc"])) == 0

    def state(self):
        url = f"http://127.0.0.1:{self.ports['http']}/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState"
        try:
            beans = json.load(urllib.request.urlopen(url, timeout=5))["beans"]
        except OSError:
            return None
        return beans[0] if beans else None

    # === administration ===

    def safe_mode(self, change):
        self.java("nn", "org.apache.hadoop.hdfs.tools.DFSAdmin", "-safemode", change).check_returncode()

    def webhdfs(self, path, op, **parameters):
        """As the superuser."""
        query = urllib.parse.urlencode({"op": op, "user.name": ME, **parameters})
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports['http']}/webhdfs/v1{path}?{query}", method="PUT")
        urllib.request.urlopen(request, timeout=30).read()

    def mkdir(self, path, owner):
        self.webhdfs(path, "MKDIRS")
        self.webhdfs(path, "SETOWNER", owner=owner)

    def files(self):
        """The file system, as the tools of analysts open it: over webhdfs."""
        return fsspec.filesystem("webhdfs", host="127.0.0.1", port=self.ports["http"], user=ME, skip_instance_cache=True, use_listings_cache=False)


COMMON = {
    "dfs.replication": 3,
    "dfs.webhdfs.enabled": "true",
    "dfs.heartbeat.interval": 1,
}

LOG4J = """\
log4j.rootLogger=INFO,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
"""


def write(path, properties):
    lines = [f"<property><name>{name}</name><value>{escape(str(value))}</value></property>" for name, value in properties.items()]
    path.write_text("\n".join(["<configuration>", *lines, "</configuration>", ""]))


def free_ports(count):
    """That many different ports, which nobody uses at this moment."""
    with ExitStack() as open_ones:
        sockets = [open_ones.enter_context(socket.socket()) for _ in range(count)]
        for it in sockets:
            it.bind(("127.0.0.1", 0))
        return [it.getsockname()[1] for it in sockets]

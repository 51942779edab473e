"""A real HDFS on this machine: NameNodes, DataNodes and JournalNodes, each a process of its own, that can be killed and paused."""

import base64
import contextlib
import getpass
import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from xml.sax.saxutils import escape

import fsspec

from program import ROOT, free_port, until

JARS = ROOT / "tests/.hdfs/jars"
NAMENODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
DATANODE = "org.apache.hadoop.hdfs.server.datanode.DataNode"
JOURNALNODE = "org.apache.hadoop.hdfs.qjournal.server.JournalNode"
DATANODES = ["dn1", "dn2", "dn3"]
ME = getpass.getuser()
JAVA = [
    "java", "-Xmx192m", "-Xms32m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xshare:auto",
    "-Djava.net.preferIPv4Stack=true", "--add-opens=java.base/java.lang=ALL-UNNAMED",
]  # fmt: skip


class Hdfs:
    """A NameNode and three DataNodes. Starts nothing by itself; `home` is a directory for everything that it writes."""

    namenodes = ["nn"]
    journalnodes = []
    # What the superuser has in its environment besides.
    login = {}

    def __init__(self, home):
        self.home, self.children = Path(home), {}
        # Where in its log the present life of a node begins.
        self.begun = {}
        names = [f"{node}.{part}" for node in self.namenodes + self.journalnodes for part in ("rpc", "http")]
        names += [f"{dn}.{part}" for dn in DATANODES for part in ("data", "http", "ipc")]
        self.ports = {name: free_port() for name in names}
        self.nodes = [*self.journalnodes, *self.namenodes, *DATANODES]
        # The jars lack the pages of the web interface; the daemons insist on these folders.
        for pages in ("hdfs", "datanode", "journal", "secondary", "static"):
            (self.home / "web/webapps" / pages).mkdir(parents=True)
        for node in [*self.nodes, "client"]:
            self.configure(node)

    def configure(self, node):
        directory = self.home / "conf" / node
        directory.mkdir(parents=True)
        write(directory / "core-site.xml", self.core() | {"hadoop.tmp.dir": self.home / "tmp" / node})
        write(directory / "hdfs-site.xml", self.common() | self.own(node))
        (directory / "log4j.properties").write_text(LOG4J)

    @property
    def url(self):
        return f"hdfs://{self.address('nn', 'rpc')}"

    @property
    def env(self):
        """What a client must have in its environment: nothing, where it is told the address of the NameNode."""
        return {}

    @property
    def client(self):
        """The configuration of clients."""
        return {"HADOOP_CONF_DIR": f"{self.home}/conf/client"}

    def address(self, node, part):
        return f"127.0.0.1:{self.ports[f'{node}.{part}']}"

    # === configuration ===

    def core(self):
        # The users of the tests are none of this machine's: whose members they are, only this tells.
        return {"fs.defaultFS": self.url, "hadoop.user.group.static.mapping.overrides": "greyhound=greyhound,analysts;activity=analysts"}

    def common(self):
        """Of all processes."""
        return COMMON | {
            "dfs.namenode.rpc-address": self.address("nn", "rpc"),
            "dfs.namenode.http-address": self.address("nn", "http"),
        }

    def own(self, node):
        """Of one process."""
        if node in self.namenodes:
            return NAMENODES | {"dfs.namenode.name.dir": f"file://{self.home}/data/{node}"}
        if node in self.journalnodes:
            return {
                "dfs.journalnode.edits.dir": f"{self.home}/data/{node}",
                "dfs.journalnode.rpc-address": self.address(node, "rpc"),
                "dfs.journalnode.http-address": self.address(node, "http"),
            }
        return {} if node == "client" else self.datanode(node)

    def datanode(self, node):
        return {
            "dfs.datanode.data.dir": f"file://{self.home}/data/{node}",
            "dfs.datanode.address": self.address(node, "data"),
            "dfs.datanode.http.address": self.address(node, "http"),
            "dfs.datanode.ipc.address": self.address(node, "ipc"),
            "dfs.datanode.hostname": "127.0.0.1",
            "dfs.blockreport.initialDelay": 0,
            "dfs.datanode.handler.count": 4,
            "dfs.datanode.scan.period.hours": -1,
            "dfs.datanode.directoryscan.interval": -1,
        }

    # === life ===

    def start(self):
        (self.home / "log").mkdir()
        self.format("nn")
        self.launch("nn")
        # A DataNode that finds no NameNode sleeps five seconds before it tries again.
        until("the NameNode", lambda: self.answers("nn"))
        self.launch(*DATANODES)
        self.healthy()
        return self

    def format(self, node):
        self.java(node, NAMENODE, "-format", "-nonInteractive", "-clusterId", "greyhound").check_returncode()

    def launch(self, *nodes):
        for node in nodes:
            main = NAMENODE if node in self.namenodes else JOURNALNODE if node in self.journalnodes else DATANODE
            with self.log(node).open("ab") as log:
                self.begun[node] = log.tell()
                command = [*JAVA, *self.options(), "-cp", self.class_path(node), main]
                child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
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
        self.launch(*(node for node in self.nodes if node not in self.children))
        for node in self.namenodes:
            until(f"the NameNode {node}", lambda: self.answers(node))
        self.activate()
        if self.state()["FSState"] != "Operational":
            self.safe_mode("leave")
        self.healthy()

    def activate(self):
        """Has a NameNode be the active one: this has only one."""

    def stop(self):
        for child in self.children.values():
            child.kill()
        for child in self.children.values():
            child.wait()

    def class_path(self, node):
        return f"{self.home}/conf/{node}:{self.home}/web:{JARS}/*"

    def options(self):
        """More of Java's."""
        return []

    def java(self, node, main, *args):
        command = [*JAVA, *self.options(), "-cp", self.class_path(node), main, *args]
        done = subprocess.run(command, env=os.environ | self.env | self.login, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        (self.home / "log" / f"{main.rsplit('.', 1)[1]}.out").write_text(done.stdout + done.stderr)
        return done

    # === state ===

    def healthy(self):
        """Waits until all of it can be used. The NameNode alone does not tell: it takes a dead DataNode for a live one for a while."""
        for node in DATANODES:
            until(f"{node} to register", lambda: self.registered(node))
        for node in self.namenodes:
            until(f"three DataNodes at {node}", lambda: self.whole(self.state(node)))

    def whole(self, state):
        return state["NumLiveDataNodes"] == 3 and state["FSState"] == "Operational"

    def registered(self, node):
        with self.log(node).open("rb") as log:
            log.seek(self.begun[node])
            return b"successfully registered" in log.read()

    def log(self, node):
        return self.home / "log" / node

    def answers(self, node):
        assert self.children[node].poll() is None, self.log(node).read_text()[-2000:]
        return self.state(node) is not None and self.listens(node)

    def listens(self, node):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.ports[f"{node}.rpc"])) == 0

    @property
    def active(self):
        """The NameNode that serves clients."""
        return "nn"

    def state(self, node=None):
        return self.bean(node or self.active, "FSNamesystemState")

    def bean(self, node, name):
        url = f"http://{self.address(node, 'http')}/jmx?qry=Hadoop:service=NameNode,name={name}"
        try:
            beans = json.load(urllib.request.urlopen(url, timeout=5))["beans"]
        except OSError:
            return None
        return beans[0] if beans else None

    # === administration ===

    def safe_mode(self, change):
        self.java("client", "org.apache.hadoop.hdfs.tools.DFSAdmin", "-safemode", change).check_returncode()

    @property
    def superuser(self):
        """The parameter of webhdfs that says who we are."""
        return {"user.name": ME}

    def webhdfs(self, path, op, method="PUT", node=None, **parameters):
        """As the superuser, at the NameNode `node` or else the active one; the answer, if there is one."""
        query = urllib.parse.urlencode({"op": op, **self.superuser, **parameters})
        request = urllib.request.Request(f"http://{self.address(node or self.active, 'http')}/webhdfs/v1{path}?{query}", method=method)
        answer = urllib.request.urlopen(request, timeout=30).read()
        return json.loads(answer) if answer else None

    def mkdir(self, path, owner):
        self.webhdfs(path, "MKDIRS")
        self.webhdfs(path, "SETOWNER", owner=owner)

    def status(self, path):
        return self.webhdfs(path, "GETFILESTATUS", method="GET")["FileStatus"]

    def files(self):
        """The file system, as the tools of analysts open it: over webhdfs."""
        who = {"token": token} if (token := self.superuser.get("delegation")) else {"user": ME}
        port = self.ports[f"{self.active}.http"]
        return fsspec.filesystem("webhdfs", host="127.0.0.1", port=port, skip_instance_cache=True, use_listings_cache=False, **who)


class HighlyAvailable(Hdfs):
    """Two NameNodes, of which one is active, and three JournalNodes; fails over only when it is told to."""

    namenodes = ["nn1", "nn2"]
    journalnodes = ["jn1", "jn2", "jn3"]
    url = "hdfs://tables"
    # Who was made active last: one that hung meanwhile takes itself for active as well, until it writes something.
    leader = "nn1"

    def common(self):
        journals = ";".join(self.address(node, "rpc") for node in self.journalnodes)
        addresses = {f"dfs.namenode.{part}-address.tables.{nn}": self.address(nn, part) for nn in self.namenodes for part in ("rpc", "http")}
        return COMMON | addresses | {
            "dfs.nameservices": "tables",
            "dfs.ha.namenodes.tables": ",".join(self.namenodes),
            "dfs.client.failover.proxy.provider.tables": "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider",
            "dfs.namenode.shared.edits.dir": f"qjournal://{journals}/tables",
            "dfs.ha.fencing.methods": "shell(/bin/true)",
            "dfs.ha.automatic-failover.enabled": "false",
            "dfs.ha.tail-edits.period": "1s",
            "dfs.ha.tail-edits.in-progress": "true",
        }  # fmt: skip

    def own(self, node):
        # All are on one machine: their addresses do not tell the NameNodes apart.
        return super().own(node) | ({"dfs.ha.namenode.id": node} if node in self.namenodes else {})

    @property
    def env(self):
        return self.client

    def start(self):
        (self.home / "log").mkdir()
        self.launch(*self.journalnodes)
        for node in self.journalnodes:
            until(node, lambda: self.listens(node))
        self.format("nn1")
        self.launch("nn1")
        until("nn1", lambda: self.answers("nn1"))
        self.launch(*DATANODES)
        self.java("nn2", NAMENODE, "-bootstrapStandby", "-nonInteractive").check_returncode()
        self.launch("nn2")
        until("nn2", lambda: self.answers("nn2"))
        self.activate()
        self.healthy()
        return self

    def admin(self, *args):
        done = self.java("client", "org.apache.hadoop.hdfs.tools.DFSHAAdmin", *args)
        assert done.returncode == 0, done.stdout + done.stderr

    def fail_over(self):
        """The active one hands over to the other."""
        active = self.active
        self.admin("-failover", active, self.other(active))
        self.leader = self.other(active)

    def take_over(self, node):
        """Makes `node` the active one, without asking the other: it may be dead."""
        self.admin("-transitionToActive", "--forceactive", node)
        self.leader = node

    def ousted(self, node):
        """Waits for the end of a NameNode that hung while the other took over. It takes itself for active, and answers readers from its
        old state, until it writes: this makes it write, which the JournalNodes refuse."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.webhdfs("/written-by-the-old-active-one", "MKDIRS", node=node)
            raise AssertionError(f"{node} still wrote, although {self.leader} is the active NameNode")
        self.children.pop(node).wait(60)

    def other(self, node):
        return next(it for it in self.namenodes if it != node)

    def heal(self):
        other = self.other(self.leader)
        if other in self.children:
            self.resume(other)
            status = self.bean(other, "NameNodeStatus")
            # It has ended when it wrote, or is about to.
            if not status or status["State"] == "active":
                self.kill(other)
        super().heal()

    def activate(self):
        if not self.active:
            self.take_over(self.leader)

    @property
    def active(self):
        status = self.bean(self.leader, "NameNodeStatus")
        return self.leader if status and status["State"] == "active" else None


class Secured(Hdfs):
    """With Kerberos, and with everything encrypted that goes over the network."""

    def __init__(self, home, kdc):
        self.kdc, self.token = kdc, None
        self.keytab = kdc.keytab("daemons", "nn/localhost", "dn/localhost", "HTTP/localhost")
        super().__init__(home)

    def core(self):
        return super().core() | {
            "hadoop.security.authentication": "kerberos",
            "hadoop.security.authorization": "true",
            "hadoop.rpc.protection": "privacy",
            "hadoop.security.auth_to_local": f"RULE:[2:$1](.*)s/.*/{ME}/ DEFAULT",
            # The principal greyhound may write as activity, and as nobody else.
            "hadoop.proxyuser.greyhound.hosts": "*",
            "hadoop.proxyuser.greyhound.users": "activity",
        }

    def common(self):
        principal = lambda service: f"{service}/localhost@{self.kdc.realm}"
        return super().common() | {
            "dfs.block.access.token.enable": "true",
            "ignore.secure.ports.for.testing": "true",
            "dfs.namenode.kerberos.principal": principal("nn"),
            "dfs.namenode.keytab.file": self.keytab,
            "dfs.datanode.kerberos.principal": principal("dn"),
            "dfs.datanode.keytab.file": self.keytab,
            "dfs.namenode.kerberos.internal.spnego.principal": principal("HTTP"),
            "dfs.web.authentication.kerberos.principal": principal("HTTP"),
            "dfs.web.authentication.kerberos.keytab": self.keytab,
            "dfs.data.transfer.protection": "privacy",
        }

    @property
    def env(self):
        return self.client | self.kdc.env

    def options(self):
        return [f"-Djava.security.krb5.conf={self.kdc.conf}"]

    def start(self):
        self.login = self.kdc.login("nn/localhost", self.keytab)
        super().start()
        self.token = self.delegation_token()
        return self

    def delegation_token(self):
        """The superuser's, as webhdfs wants it: a browser's login would need more of Python than it has."""
        file = self.home / "token"
        self.java("client", "org.apache.hadoop.hdfs.tools.DelegationTokenFetcher", str(file)).check_returncode()
        # "HDTS", version 0, one token: its name, then the token itself, then no secrets.
        stored = file.read_bytes()
        assert stored[:6] == b"HDTS\0\1", stored
        begin = 7 + stored[6]
        return base64.urlsafe_b64encode(stored[begin:-1]).rstrip(b"=").decode()

    @property
    def superuser(self):
        return {"delegation": self.token}


COMMON = {
    "dfs.replication": 3,
    "dfs.webhdfs.enabled": "true",
    "dfs.heartbeat.interval": 1,
}

NAMENODES = {
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


if __name__ == "__main__":
    # For people: PYTHONPATH=tests tests/.venv/bin/python tests/hdfs/cluster.py
    with tempfile.TemporaryDirectory(prefix="greyhound-hdfs-") as home:
        hdfs = Hdfs(home)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            hdfs.start()
            print(f"store = \"{hdfs.url}/warehouse/greyhound\"", f"webhdfs: 127.0.0.1:{hdfs.ports['nn.http']}", sep="\n")
            print(*(f"{name}={value}" for name, value in hdfs.client.items()), sep="\n", flush=True)
            signal.pause()
        except KeyboardInterrupt:
            pass
        finally:
            hdfs.stop()

"""A real KDC on this machine: MIT Kerberos, with a realm of its own."""

import os
import shutil
import subprocess
from pathlib import Path

from program import free_port, until

PROGRAMS = ["krb5kdc", "kdb5_util", "kadmin.local", "kinit"]
# Debian keeps the daemons where only root's shell looks.
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def missing():
    """The programs that are not installed."""
    return [program for program in PROGRAMS if not shutil.which(program, path=PATH)]


class Kdc:
    realm = "GREYHOUND.TEST"

    def __init__(self, home):
        self.home, self.child = Path(home), None
        self.conf, self.log = self.home / "krb5.conf", self.home / "kdc.log"
        address = f"127.0.0.1:{free_port()}"
        # Clocks are the same here: a ticket that has run out is to be refused at once.
        self.conf.write_text(f"""\
[libdefaults]
 default_realm = {self.realm}
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
 udp_preference_limit = 1
 clockskew = 2
[realms]
 {self.realm} = {{
  kdc = {address}
 }}
[domain_realm]
 localhost = {self.realm}
""")
        (self.home / "kdc.conf").write_text(f"""\
[kdcdefaults]
 kdc_listen = {address}
 kdc_tcp_listen = {address}
[realms]
 {self.realm} = {{
  database_name = {self.home}/principal
  key_stash_file = {self.home}/stash
  acl_file = {self.home}/acl
  supported_enctypes = aes256-cts-hmac-sha1-96:normal
 }}
[logging]
 kdc = FILE:{self.log}
""")

    @property
    def env(self):
        return {"KRB5_CONFIG": str(self.conf), "KRB5_KDC_PROFILE": f"{self.home}/kdc.conf", "PATH": PATH}

    def start(self):
        self.run("kdb5_util", "create", "-r", self.realm, "-s", "-P", "of the tests")
        self.child = subprocess.Popen(
            ["krb5kdc", "-n"], env=os.environ | self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until("the KDC", lambda: self.log.exists() and "commencing operation" in self.log.read_text())
        return self

    def stop(self):
        if self.child:
            self.child.kill()
            self.child.wait()

    def run(self, *command, **env):
        done = subprocess.run(command, env=os.environ | self.env | env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr

    def keytab(self, name, *principals, life="1 day"):
        """The path of a keytab of these principals, whose tickets last as long as `life`."""
        path = self.home / f"{name}.keytab"
        for principal in principals:
            self.run("kadmin.local", "-q", f'addprinc -randkey -maxlife "{life}" {principal}')
            self.run("kadmin.local", "-q", f"ktadd -k {path} -norandkey {principal}")
        return str(path)

    def login(self, principal, keytab):
        """Puts a ticket into the principal's cache; what names the cache in the environment."""
        cache = {"KRB5CCNAME": f"FILE:{self.home}/{principal.replace('/', '-')}.cache"}
        self.run("kinit", "-k", "-t", keytab, principal, **cache)
        return cache

    def logins(self, principal):
        """How often it was given a ticket."""
        lines = self.log.read_text().splitlines()
        return sum("AS_REQ" in line and "ISSUE" in line and f" {principal}@{self.realm} for krbtgt/" in line for line in lines)

"""A real slapd in a folder of its own, on loopback, with a few people and groups: for tests of LDAP."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import certificates
from ports import free_port
from web_process import stop

PROGRAM = shutil.which("slapd", path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/openldap")
ROOT_DN, ROOT_PASSWORD = "cn=root,dc=bank", "the root's word"
SERVICE_DN, SERVICE_PASSWORD = "cn=ferry,dc=bank", "the service's word"
PEOPLE = "ou=people,dc=bank"
CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
database mdb
suffix "dc=bank"
rootdn "{root}"
rootpw "{password}"
directory {folder}/data
maxsize 10485760
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{service}" read by anonymous auth by self read by * none
"""
TREE = f"""
dn: dc=bank
objectClass: dcObject
objectClass: organization
o: bank

dn: {PEOPLE}
objectClass: organizationalUnit
ou: people

dn: {SERVICE_DN}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: ferry
userPassword: {SERVICE_PASSWORD}
"""
PERSON = """
dn: {dn}
objectClass: inetOrgPerson
uid: {uid}
cn: {uid}
sn: {uid}
userPassword: {password}
"""
GROUP = """
dn: cn={name},dc=bank
objectClass: groupOfNames
cn: {name}
member: {member}
"""


@dataclass
class LdapServer:
    folder: Path
    port: int
    secure_port: int
    certificate: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def secure_url(self) -> str:
        return f"ldaps://127.0.0.1:{self.secure_port}"

    def start(self) -> None:
        urls = f"{self.url} {self.secure_url}"
        command = [str(PROGRAM), "-f", str(self.folder / "slapd.conf"), "-h", urls, "-d", "0"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait()

    def stop(self) -> None:
        if self.process:
            stop(self.process)

    def add(self, ldif: str) -> None:
        bind = ["-H", self.url, "-x", "-D", ROOT_DN, "-w", ROOT_PASSWORD]
        subprocess.run(["ldapadd", *bind], input=ldif, text=True, check=True, capture_output=True)

    def add_person(self, uid: str, password: str, dn: str = "") -> None:
        self.add(PERSON.format(dn=dn or f"uid={uid},{PEOPLE}", uid=uid, password=password))

    def add_group(self, name: str, member: str) -> None:
        self.add(GROUP.format(name=name, member=f"uid={member},{PEOPLE}"))

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert self.process and self.process.poll() is None, (self.folder / "log").read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("slapd does not listen")


@contextmanager
def running(folder: Path) -> Iterator[LdapServer]:
    certificate, key = certificates.make(folder, "ldap")
    (folder / "data").mkdir()
    text = CONFIG.format(
        folder=folder, certificate=certificate, key=key, root=ROOT_DN, password=ROOT_PASSWORD, service=SERVICE_DN
    )
    (folder / "slapd.conf").write_text(text)
    server = LdapServer(folder, free_port(), free_port(), certificate)
    server.start()
    try:
        server.add(TREE)
        yield server
    finally:
        server.stop()

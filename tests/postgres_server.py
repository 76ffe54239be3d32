"""A real PostgreSQL for tests: a private cluster in a folder of its own, started once for a process of the test run.

Out: `new_database()` and `new_tables()`, the URL of a fresh database there. PostgreSQL refuses
to run as root: then it is run as another user, to whom its folder belongs.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

import psycopg
from ports import free_port

from service.web import database, revisions
from service.web.database import Database

PASSWORD = "of a test"
USERS = ("postgres", "nobody")
_numbers = itertools.count(1)
_keepers: list[subprocess.Popen[bytes]] = []
# Nothing of it is kept: what makes writes durable would only make them slow.
QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=16MB", "jit=off")
MOST = 60
# Stops a folder's cluster and removes the folder when the test run, which holds the other end of the pipe, is no more:
# a run that is killed cannot see to it.
KEEPER = """
read -r _
process=$(head -n 1 "$0/data/postmaster.pid" 2>/dev/null)
[ -z "$process" ] || kill -INT "$process"
for _ in $(seq 100); do [ ! -e "$0/data/postmaster.pid" ] || sleep 0.1; done
rm -rf "$0"
"""


class Server:
    """The cluster. `stop` and `start` are an outage, as the service sees it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (folder, folder / "password"):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        how = [
            "--username=ferry",
            "--auth=scram-sha-256",
            f"--pwfile={folder / 'password'}",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ]
        words = [program("initdb"), "-D", folder / "data", *how, "--no-sync"]
        subprocess.run(words, check=True, capture_output=True, cwd="/", **self._as_user())

    @property
    def _user(self) -> pwd.struct_passwd:
        names = {entry.pw_name: entry for entry in pwd.getpwall()}
        return next(names[name] for name in USERS if name in names)

    def _as_user(self) -> dict[str, object]:
        if os.geteuid() != 0:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def url(self, database: str, password: str = f":{PASSWORD.replace(' ', '%20')}") -> str:
        return f"postgresql://ferry{password}@127.0.0.1:{self._port}/{database}"

    def start(self) -> None:
        settings = [
            *QUICK,
            f"port={self._port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self._folder}",
        ]
        settings.append(f"max_connections={MOST}")
        words = [program("postgres"), "-D", self._folder / "data", *(word for one in settings for word in ("-c", one))]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, cwd="/", **self._as_user())
        deadline = time.monotonic() + 30
        while not self._is_open():
            assert time.monotonic() < deadline and self._process.poll() is None, (self._folder / "log").read_text()
            time.sleep(0.05)

    def _is_open(self) -> bool:
        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """End it at once, with every connection."""
        if self._process is not None:
            self._process.send_signal(2)  # "fast": https://www.postgresql.org/docs/current/server-shutdown.html
            self._process.wait()
            self._process = None

    def run(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]


def program(name: str) -> str:
    """Return the path of one of the server's programs, which Debian keeps out of everybody's PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    path = os.pathsep.join([*map(str, reversed(folders)), os.environ.get("PATH", os.defpath)])
    found = shutil.which(name, path=path)
    assert found, f"no {name} here"
    return found


@cache
def server() -> Server:
    """Return the cluster of this process, which ends with it."""
    folder = Path(tempfile.mkdtemp(prefix="ferry-postgres-", dir="/tmp"))
    _keepers.append(subprocess.Popen(["sh", "-c", KEEPER, folder], stdin=subprocess.PIPE, start_new_session=True))
    made = Server(folder)
    made.start()
    return made


def new_database(template: str = "template0") -> str:
    """Make a database, empty where no other is named, and return its URL."""
    name = f"test_{next(_numbers)}"
    server().run(f"CREATE DATABASE {name} TEMPLATE {template}")
    return server().url(name)


def new_tables() -> str:
    """Make a database with the service's tables, a copy of one that is made once, and return its URL."""
    return new_database(_tables())


@cache
def _tables() -> str:
    url = new_database()
    store = Database(database.url_of(url, Path("/nowhere")))
    with tempfile.TemporaryDirectory() as folder:
        revisions.migrate(store, Path(folder))
    store.close()
    return url.rpartition("/")[2]

"""The installer as root under a real systemd, on the small bundle: what it makes, takes back and leaves."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import outage
import pytest
import small_bundle
import small_medium
from container import Container
from roots import server_root
from small_bundle import Recipe

from installer import backup_file
from installer.backup_list import Description, Entry

pytestmark = pytest.mark.e2e
UNITS = ("ferry.service", "ferry-engine.service")
# Debian's own tools keep the account files before a change; the journal grows; a start makes a private /tmp, and one
# that is killed early leaves systemd's empty /tmp/namespace-dev-….
ACCOUNTS = ("/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/.pwd.lock")
NOT_OURS = (*ACCOUNTS, "/var/log/", "/var/tmp/", "/tmp/systemd-private-", "/tmp/namespace-dev-")


@dataclass(frozen=True)
class Server:
    """A container, and the folder on this side that it sees as a medium."""

    container: Container
    medium: Path
    key: Path

    @property
    def recipe(self) -> Recipe:
        # Debian 12's own Python.
        return Recipe(keys=(self.key,), python="3.11")

    def install(self, recipe: Recipe, *words: str, status: int = 0) -> Any:
        bundle = small_bundle.make(self.medium, recipe)
        command = ["sh", "/media/usb/install.sh", f"/media/usb/{bundle.name}", "--json", *words]
        done = self.container.run([*command, "--allowed-signers", "/media/usb/list"], check=False, timeout_s=200)
        assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def ferry(self, *words: str) -> Any:
        return json.loads(self.container.run(["ferry", *words, "--json"], timeout_s=100).stdout)

    def states(self) -> list[str]:
        return self.container.run(["systemctl", "is-active", *UNITS], check=False).stdout.split()

    def seen(self) -> dict[str, str]:
        """Return the disk, the units and the accounts."""
        units = self.container.run(["systemctl", "list-unit-files", "--no-legend", "--no-pager"]).stdout
        disk = self.container.listing("/", "/tmp")
        ours = {path: what for path, what in disk.items() if not path.startswith(NOT_OURS)}
        return ours | {"units": units, "accounts": self.container.run(["cat", "/etc/passwd", "/etc/group"]).stdout}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Container(server_root())
    medium = small_medium.insert(made, small_bundle.ROOT / "installer" / "install.sh")
    with made:
        yield Server(made, medium.folder, medium.key)


@pytest.fixture(scope="module")
def before(server: Server) -> dict[str, str]:
    """Return what the server was before anything was installed."""
    return server.seen()


def test_settings_that_the_service_could_not_reach_are_named_before_anything_is_done(server: Server) -> None:
    server.container.run(["install", "-d", "-m", "700", "/etc/ferry"])
    said = server.install(server.recipe, "--dry-run", status=4)["error"]
    server.container.run(["rmdir", "/etc/ferry"])
    assert "closed to others: /etc/ferry" in said


def test_a_first_install_that_does_not_answer_leaves_the_server_as_it_was(
    server: Server, before: dict[str, str]
) -> None:
    lines = {"engine dies": "these weights cannot be loaded", "web dies": "this web cannot start", "no answer": ""}
    for behaviour, line in lines.items():
        said = server.install(replace(server.recipe, behaviour=behaviour), status=5)["error"]
        assert "the release was taken back" in said and line in said
        assert server.seen() == before


def test_install_status_stop_and_start(server: Server) -> None:
    done = server.install(server.recipe)
    assert (done["user"], done["url"]) == ("admin", "http://127.0.0.1:8080")
    assert server.states() == ["active", "active"]
    server.ferry("stop")
    assert server.states() == ["inactive", "inactive"]
    assert server.ferry("status")["state"] == "stopped"
    server.container.run(["systemctl", "start", "ferry"])
    assert server.states()[0] == "active"
    assert server.ferry("verify")["ok"] is True


def test_settings_and_data_belong_to_whom_they_must(server: Server) -> None:
    folders = ["/etc/ferry", "/etc/ferry/ferry.toml", "/var/lib/ferry", "/var/log/ferry", "/var/cache/ferry"]
    paths = [*folders, "/run/ferry", "/run/ferry/engine.sock"]
    found = server.container.run(["stat", "-c", "%a %U:%G", *paths]).stdout.splitlines()
    assert found == [
        "755 root:root",
        "640 root:ferry",
        "700 ferry:ferry",
        "700 ferry:ferry",
        "700 ferry-engine:ferry",
        "2750 ferry-engine:ferry",
        "660 ferry-engine:ferry",
    ]


def test_backup_and_restore_put_ownership_right_by_name(server: Server) -> None:
    """The file that is restored was made in user mode, as another account."""
    run = server.container.run
    made = server.ferry("backup", "/root/backup.tar")
    assert run(["stat", "-c", "%a %U", "/root/backup.tar"]).stdout.split() == ["600", "root"]
    owners = "import json,sys; [print(f['path'], f['mode'], f['owner']) for f in json.load(sys.stdin)['files']]"
    listed = run(["sh", "-c", f'tar xOf /root/backup.tar ferry-backup/backup.json | python3 -c "{owners}"']).stdout
    assert "etc/ferry.toml 0640 administrator" in listed and "data/accounts 0644 service" in listed
    contents = {
        "data/accounts": b"admin\nzoe",
        "data/more/colours": b"red",
        "etc/ferry.toml": run(["cat", "/etc/ferry/ferry.toml"]).stdout.replace("0.0.0.0", "127.0.0.9").encode(),
        "log/audit.jsonl": b"{}\n",
    }
    modes = {"etc/ferry.toml": "0640", "data/accounts": "0666"}
    entries = [
        Entry(path, len(data), modes.get(path, "0600"), "administrator" if path.startswith("etc/") else "service")
        for path, data in contents.items()
    ]
    of = Description(made["created"], made["release"], made["version"], made["revision"], "user", "", tuple(entries))
    with (server.medium / "user.tar").open("wb") as stream:
        backup_file.write(stream, of, lambda entry: io.BytesIO(contents[entry.path]), None, lambda _: None)
    done = server.ferry("restore", "/media/usb/user.tar", "--yes")
    assert any("goes on listening on 0.0.0.0:8080" in note for note in done["notes"])
    assert {"user": "zoe"} in server.ferry("user", "list")["users"]
    paths = ["/etc/ferry/ferry.toml", "/var/lib/ferry/accounts", "/var/lib/ferry/more", "/var/lib/ferry/more/colours"]
    found = run(["stat", "-c", "%a %U:%G", *paths, "/var/log/ferry/audit.jsonl"]).stdout.splitlines()
    assert found == ["640 root:ferry", "644 ferry:ferry", "700 ferry:ferry", "600 ferry:ferry", "600 ferry:ferry"]
    server.ferry("restore", "/root/backup.tar", "--yes")
    assert {"user": "zoe"} not in server.ferry("user", "list")["users"]
    assert run(["sh", "-c", "ls -A /var/lib/ferry | grep -c '^\\.'"], check=False).stdout.strip() == "0"
    assert server.states() == ["active", "active"]
    run(["rm", "/root/backup.tar"])


def test_a_unit_that_fails_again_and_again_is_not_given_up(server: Server) -> None:
    """Such as while a disk is full: when that is over it comes back by itself."""
    drop_in = "/run/systemd/system/ferry-engine.service.d/quick.conf"
    server.container.put(drop_in, b"[Service]\nRestartSec=100ms\n")
    script = "cd /opt/ferry/current/app/service; mv behaviour kept; printf 'engine dies' >behaviour"
    kill = "systemctl daemon-reload; systemctl kill --signal=KILL ferry-engine"
    server.container.run(["sh", "-c", f"{script}; {kill}"])
    wait_until(lambda: restarts(server) >= 8)
    assert server.states()[0] == "active", "the web serves on"
    server.container.run(["mv", "/opt/ferry/current/app/service/kept", "/opt/ferry/current/app/service/behaviour"])
    wait_until(lambda: server.states() == ["active", "active"] and server.ferry("status")["ready"])
    server.container.run(["sh", "-c", f"rm -r {drop_in.rpartition('/')[0]}; systemctl daemon-reload"])


def restarts(server: Server) -> int:
    return int(server.container.run(["systemctl", "show", "--value", "-p", "NRestarts", "ferry-engine"]).stdout)


def wait_until(fact: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_upgrade_that_does_not_answer_is_taken_back_and_a_good_one_stays(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    before, outages = server.seen(), {}
    for behaviour in ("engine dies", "answer never comes", "web dies", "spoils data"):
        bad = replace(server.recipe, version="2.0.0", sequence=2, behaviour=behaviour)
        with outage.watching(server.container) as seen:
            server.install(bad, "--deadline", "8", status=5)
        outages[behaviour] = seen.seconds
        assert server.seen() == before
        assert server.ferry("status")["ready"] is True
    with outage.watching(server.container) as seen:
        server.install(replace(server.recipe, version="3.0.0", sequence=3))
    with capsys.disabled():
        told = ", ".join(f"{behaviour} {seconds:.1f} s" for behaviour, seconds in outages.items())
        print(f"\noutage of a good upgrade: {seen.seconds:.1f} s; of bad ones (deadline 8 s): {told}", end=" ")
    assert all(seconds > 0 for seconds in outages.values())
    assert server.ferry("status")["version"] == "3.0.0" and server.ferry("status")["ready"] is True
    assert "older than" in server.install(server.recipe, status=3)["error"]


def test_uninstall_and_purge(server: Server, before: dict[str, str]) -> None:
    server.ferry("user", "add", "alice")
    server.ferry("uninstall")
    assert server.container.run(["ls", "/opt/ferry"], check=False).returncode != 0
    assert "ferry.service" not in server.seen()["units"]
    server.install(server.recipe)
    assert {"user": "alice"} in server.ferry("user", "list")["users"]
    server.ferry("uninstall", "--purge")
    assert server.seen() == before

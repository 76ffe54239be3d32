"""What a Ferry goes through on a server, step after step, for each system that it is tested on.

A test module that gives a `server` with the demo installed, and the next version at /media/next, inherits the steps.
"""

from __future__ import annotations

from typing import Any, ClassVar

import outage
import pytest
from servers import Server

INODES = "find /opt/ferry/current/{}/ -xdev -type f -printf '%P %D:%i\\n'"
EVERY_INODE = "find /opt/ferry -xdev -type f -printf '%D:%i\\n' | sort -u"


class Lifecycle:
    """The steps, in their order: each finds the server as the one before left it."""

    known: ClassVar[dict[str, str]] = {}

    def test_it_answers(self, server: Server) -> None:
        self.known["key"] = server.ferry("key", "add", "lifecycle")["key"]
        self.known["first"] = server.ferry("status")["release"]
        server.ferry("user", "add", "carol")
        assert server.states() == ["active", "active"]
        self.is_whole(server, "0.1.0")

    def test_an_upgrade_copies_neither_weights_nor_packages(
        self, server: Server, capsys: pytest.CaptureFixture[str]
    ) -> None:
        inodes, bytes_before = set(lines(server, EVERY_INODE)), disk_bytes(server)
        with outage.watching(server.container) as seen:
            server.ferry("upgrade", self.next_bundle(server))
        added = disk_bytes(server) - bytes_before
        with capsys.disabled():
            print(f"\nthe upgrade added {added:,} bytes to {bytes_before:,}; outage {seen.seconds:.1f} s", end=" ")
        assert added < bytes_before * 0.05
        for part in ("model", "venv"):
            files = dict(line.rsplit(" ", 1) for line in lines(server, INODES.format(part)))
            assert len(files) > 2
            assert [path for path, inode in files.items() if inode not in inodes] == []
        assert server.container.run(["cat", "/opt/ferry/current/app/service/news.txt"]).stdout == "one file is new\n"
        self.is_whole(server, "0.1.1")

    def test_a_rollback_brings_the_first_one_back(self, server: Server) -> None:
        server.ferry("rollback")
        assert server.ferry("status")["release"] == self.known["first"]
        self.is_whole(server, "0.1.0")

    def test_a_repair_mends_what_was_changed_and_what_was_lost(self, server: Server) -> None:
        changed, lost = "/opt/ferry/current/model/config.json", "/opt/ferry/current/app/service/__init__.py"
        server.container.run(["sh", "-c", f'real=$(readlink -f {changed}); sed "s/Llama/llama/" "$real" >/tmp/changed'])
        server.container.run(["sh", "-c", f'cat /tmp/changed >"$(readlink -f {changed})"; rm /tmp/changed {lost}'])
        named = " ".join(problem["path"] for problem in server.ferry("verify", status=3)["problems"])
        assert "config.json" in named and "service/__init__.py" in named
        server.ferry("repair", bundle_in(server, "/media/usb"))
        self.is_whole(server, "0.1.0")

    def test_a_restore_brings_back_what_the_backup_held(self, server: Server) -> None:
        server.ferry("backup", "/root/ferry-backup.tar")
        assert server.container.run(["stat", "-c", "%a", "/root/ferry-backup.tar"]).stdout == "600\n"
        server.ferry("user", "add", "later")
        server.ferry("restore", "/root/ferry-backup.tar", "--yes")
        server.container.run(["rm", "/root/ferry-backup.tar"])
        assert "later" not in people(server)
        self.is_whole(server, "0.1.0")

    def is_whole(self, server: Server, version: str) -> None:
        """Check that a version runs, answers, is what was signed, and kept the accounts."""
        server.wait_ready()
        status = server.ferry("status")
        assert (status["version"], status["state"]) == (version, "running")
        assert server.ferry("verify") == {"ok": True, "problems": []}
        assert "Paris" in "".join(server.chat(self.known["key"]))
        assert {"admin", "carol"} <= people(server)

    def next_bundle(self, server: Server) -> str:
        return bundle_in(server, "/media/next")


def bundle_in(server: Server, folder: str) -> str:
    return server.container.run(["sh", "-c", f"echo {folder}/*.tar"]).stdout.strip()


def people(server: Server) -> set[str]:
    users: list[dict[str, Any]] = server.ferry("user", "list")["users"]
    return {user["user"] for user in users}


def lines(server: Server, script: str) -> list[str]:
    return server.container.run(["sh", "-c", script]).stdout.splitlines()


def disk_bytes(server: Server) -> int:
    """Return what the installation takes on disk: a file with several names counts once."""
    return int(server.container.run(["du", "-s", "--block-size=1", "/opt/ferry"]).stdout.split()[0])

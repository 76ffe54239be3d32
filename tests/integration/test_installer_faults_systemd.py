"""Faults at steps of install and upgrade with root and a real systemd: units, users and the guard that systemd runs."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import small_bundle
import small_medium
from container import Container
from fault_campaign import FAULTS, KINDS
from roots import server_root
from small_bundle import Recipe

pytestmark = pytest.mark.e2e
TRIED = 6
SETTLED_S = 60
BESIDE = (
    r"find / -xdev \( -name '.*.new' -o -name '.*.old' -o -name '.staging-*' -o -name .snapshot \) -not -path '/proc/*'"
)


@dataclass
class Server:
    """A container that is broken again and again; it sees `medium` as /media/usb."""

    container: Container
    medium: Path
    key: Path

    def install_words(self, sequence: int, behaviour: str = "good") -> list[str]:
        recipe = Recipe(keys=(self.key,), python="3.11", behaviour=behaviour)
        more = {"licenses/n": b"%d" % sequence}
        small_bundle.make(self.medium, replace(recipe, version=f"{sequence}.0.0", sequence=sequence, more=more))
        name = replace(recipe, version=f"{sequence}.0.0").name
        return ["install", f"/media/usb/{name}.tar", "--allowed-signers", "/media/usb/list"]

    def run(self, words: list[str], kind: str = "COUNT", number: int = 0) -> subprocess.CompletedProcess[str]:
        argv = [
            "python3",
            "-I",
            "-B",
            "/media/usb/faults.py",
            kind,
            str(number),
            "/root/steps",
            "/media/usb/install.pyz",
        ]
        return self.container.run([*argv, "--prefix", "/opt/ferry", *words], check=False, timeout_s=200)

    def steps(self) -> list[str]:
        return self.container.run(["cat", "/root/steps"]).stdout.splitlines()

    def version(self) -> str:
        """Return the version that runs and answers, "" where nothing is installed."""
        if self.container.run(["test", "-e", "/opt/ferry/state.json"], check=False).returncode:
            return ""
        found = json.loads(self.container.run(["ferry", "status", "--json"]).stdout)
        return str(found["version"]) if found["ready"] else f"not ready: {found}"

    def settle(self) -> None:
        """Wait until the guard has taken back, or finished, what was killed."""
        pending = ["test", "-e", "/opt/ferry/journal", "-a", "-e", "/opt/ferry/current"]
        wait_until(lambda: self.container.run(pending, check=False).returncode != 0)

    def leftovers(self) -> str:
        found = self.container.run(["sh", "-c", f"{BESIDE}; ls -d /opt/ferry/journal 2>/dev/null || :"]).stdout
        return (
            found
            + self.container.run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "ferry-guard*"]).stdout
        )


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Container(server_root())
    medium = small_medium.insert(made, FAULTS)
    (medium.folder / "install.pyz").write_bytes(small_bundle.installer())
    with made:
        yield Server(made, medium.folder, medium.key)


def spread(count: int) -> list[tuple[int, str]]:
    numbers = [number for number in range(1, count + 1) if number % max(1, count // TRIED) == 0]
    return [(number, KINDS[turn % len(KINDS)]) for turn, number in enumerate(numbers)]


def interrupt(server: Server, words: list[str], kind: str, number: int, versions: tuple[str, str]) -> None:
    """Let one step fail; afterwards the old or the new version answers, and the same command again converges."""
    done = server.run(words, kind, number)
    what = f"{kind} at {server.steps()[-1]}: {done.returncode}\n{done.stderr}"
    if kind == "SIGKILL":
        server.settle()
    found = server.version()
    assert found in versions, f"{what}\nneither the old nor the new release runs: {found}"
    if kind != "SIGKILL":
        assert found == versions[done.returncode == 0], what
    again = server.run(words)
    assert again.returncode == 0, f"{what}\nagain: {again.stderr}"
    assert (server.version(), server.leftovers()) == (versions[1], ""), what


def test_a_first_install_that_is_interrupted_converges_and_goes_whole(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    words = server.install_words(1)
    assert server.run(words).returncode == 0
    tried = spread(len(server.steps()))
    count = len(server.steps())
    for number, kind in tried:
        server.container.run(["ferry", "uninstall", "--purge"])
        assert server.container.run(["getent", "passwd", "ferry"], check=False).returncode != 0
        interrupt(server, words, kind, number, ("", "1.0.0"))
    with capsys.disabled():
        print(f"\ninstall as root: {count} steps; interrupted here: {len(tried)}", end=" ")


def test_an_upgrade_that_is_interrupted_leaves_the_old_or_the_new_release(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert server.version() == "1.0.0"
    assert server.run(server.install_words(2)).returncode == 0
    count = len(server.steps())
    tried = spread(count)
    for sequence, (number, kind) in enumerate(tried, 3):
        interrupt(server, server.install_words(sequence), kind, number, (f"{sequence - 1}.0.0", f"{sequence}.0.0"))
    with capsys.disabled():
        print(f"\nupgrade as root: {count} steps; interrupted here: {len(tried)}", end=" ")


def test_a_power_cut_in_mid_upgrade_is_taken_back_at_boot(server: Server) -> None:
    old = server.version()
    words = server.install_words(50, behaviour="never ready")
    with ThreadPoolExecutor(1) as pool:
        upgrade = pool.submit(server.run, words)
        wait_until(lambda: "/50.0.0-" in server.container.run(["readlink", "/opt/ferry/current"], check=False).stdout)
        server.container.power_cut()
        assert upgrade.result().returncode != 0
    wait_until(lambda: server.version() == old)
    assert server.leftovers() == ""
    journal = server.container.run(["journalctl", "--no-pager", "-u", "ferry-recover"]).stdout
    assert "taking back what the upgrade had begun" in journal


def wait_until(fact: Callable[[], bool]) -> None:
    end = time.monotonic() + SETTLED_S
    while not fact():
        assert time.monotonic() < end
        time.sleep(0.1)

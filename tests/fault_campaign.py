"""Interrupt every state-changing step of the installer once by each kind of fault, and look at what is left.

In: a bench (tests/install_bench.py) and a flow: install, upgrade, rollback, repair, restore or uninstall. Out: how many
steps. After each fault the old or the new release must answer, the same command again must converge, and nothing may be
left over.
`python tests/fault_campaign.py [FLOW...]` does all of them, or the named, in user mode, a server for each processor
(`make soak`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from urllib.request import urlopen

import ports
import small_bundle
from install_bench import OUTPUT, Bench, benching

KINDS = ("SIGKILL", "ENOSPC", "EIO")
FAULTS = Path(__file__).with_name("faults.py")
# How long it may take at most, on a machine that does something else.
INTERRUPTED_S = 180
READY_S = 60


@dataclass
class Campaign:
    """One server that is broken again and again; `sequence` is that of the release that runs, 0 where none does."""

    bench: Bench
    sequence: int = 0
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.bench.folder / "steps"
        self.program = self.bench.folder / "install.pyz"
        self.program.write_bytes(small_bundle.installer())

    def bundle(self, sequence: int) -> Path:
        """Return the bundle of a sequence; each has a file of its own."""
        more = {"licenses/n": b"%d" % sequence}
        recipe = replace(self.bench.recipe, version=f"{sequence}.0.0", sequence=sequence, more=more)
        return small_bundle.make(self.bench.folder / "medium", recipe)

    def run(self, words: list[str], kind: str = "COUNT", number: int = 0) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, str(FAULTS), kind, str(number), str(self.log), str(self.program)]
        return subprocess.run([*argv, "--prefix", str(self.bench.prefix), *words], **OUTPUT, check=False)

    def steps(self) -> list[str]:
        """Return the steps of the last run, as the injector named them."""
        return self.log.read_text().splitlines()

    def install_words(self, sequence: int) -> list[str]:
        trust = ["--allowed-signers", str(self.bench.key.with_suffix(".allowed"))]
        listen = ["--listen", f"127.0.0.1:{self.bench.port}"]
        return ["install", str(self.bundle(sequence)), "--user-mode", *trust, *listen]

    def expect(self, done: subprocess.CompletedProcess[str], status: int = 0) -> None:
        assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"

    def version(self) -> str:
        """Return the version that runs and answers, "" where nothing is installed, or about to be removed."""
        if not self.is_installed():
            return ""
        found = json.loads((self.bench.prefix / "state.json").read_text())
        current = (self.bench.prefix / "current").readlink().name
        if current != found["release"]:
            return f"{current} runs, but {found['release']} is written down"
        return str(found["version"]) if self._answers() else f"not ready: {found}"

    def is_installed(self) -> bool:
        """Say whether something is installed, and not about to be removed."""
        command = self.bench.prefix / "bin" / "ferry"
        state = self.bench.prefix / "state.json"
        return state.exists() and "An uninstall was begun" not in command.read_text()

    def _answers(self) -> bool:
        """Say whether the service is ready; what was just taken back may need a moment."""
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            with suppress(OSError), urlopen(f"http://127.0.0.1:{self.bench.port}/readyz", timeout=READY_S) as answer:
                return bool(answer.status == HTTPStatus.OK)
            time.sleep(0.05)
        return False

    def settle(self) -> None:
        """Wait until the guard has taken back, or finished, what was killed."""
        end = time.monotonic() + INTERRUPTED_S
        while (self.bench.prefix / "journal").exists() and (self.bench.prefix / "current").exists():
            assert time.monotonic() < end, "nobody took it back"
            time.sleep(0.05)

    def leftovers(self) -> list[str]:
        """Return what no healthy installation has."""
        prefix = self.bench.prefix
        if not prefix.exists():
            return []
        known = {"bin", "cache", "current", "data", "etc", "log", "releases", "run", "state.json", "store", "venvs"}
        strange = [path.name for path in prefix.iterdir() if path.name not in known]
        strange += [str(path) for path in prefix.rglob(".*") if path.name.endswith((".new", ".old"))]
        return strange + [str(path) for path in (prefix / "store").glob("*/*") if path.stat().st_nlink == 1]


@dataclass(frozen=True)
class Flow:
    """One command to interrupt: the words for it, and what the server is before and after, as versions.

    `reset` brings the server from after to before again, or to the next before; `is_right` looks at what else counts.
    """

    name: str
    words: Callable[[Campaign], list[str]]
    before: Callable[[Campaign], str]
    after: Callable[[Campaign], str]
    reset: Callable[[Campaign], object]
    is_right: Callable[[Campaign], bool] = lambda _: True


def _installed(campaign: Campaign) -> str:
    return f"{campaign.sequence}.0.0" if campaign.sequence else ""


def _next(campaign: Campaign) -> None:
    campaign.sequence += 1


def _again(campaign: Campaign) -> None:
    """Upgrade to a new release, to roll back from."""
    campaign.sequence += 1
    campaign.expect(campaign.run(campaign.install_words(campaign.sequence)))


def _purge(campaign: Campaign) -> None:
    campaign.bench.ferry("uninstall", "--purge")
    assert not campaign.bench.prefix.exists()


def _install(campaign: Campaign) -> None:
    campaign.expect(campaign.run(campaign.install_words(campaign.sequence)))


def _damage(campaign: Campaign) -> list[str]:
    """Damage a file of the environment, one of the application's modes, and add a file; return how to mend it."""
    release = campaign.bench.prefix / "current"
    (release / "venv" / "bin" / "activate").write_text("damaged")
    (release / "app" / "service" / "web" / "admin.py").chmod(0o600)
    (release / "app" / "extra.py").write_text("")
    return ["repair", "--yes"]


def _back_up(campaign: Campaign) -> list[str]:
    """Make a backup, and an account that it does not hold; return how to restore it."""
    file = campaign.bench.folder / "backup.tar"
    if not file.exists():
        campaign.bench.ferry("backup", str(file))
    if "later" not in _accounts(campaign):
        campaign.bench.ferry("user", "add", "later")
    return ["restore", str(file), "--yes"]


def _accounts(campaign: Campaign) -> set[str]:
    return {user["user"] for user in campaign.bench.ferry("user", "list")["users"]}


FLOWS = {
    "install": Flow(
        "install",
        lambda campaign: campaign.install_words(1),
        lambda _: "",
        lambda _: "1.0.0",
        _purge,
    ),
    "upgrade": Flow(
        "upgrade",
        lambda campaign: campaign.install_words(campaign.sequence + 1),
        _installed,
        lambda campaign: f"{campaign.sequence + 1}.0.0",
        _next,
    ),
    "rollback": Flow(
        "rollback",
        lambda _: ["rollback"],
        _installed,
        # What ran when the release came that is gone back from.
        lambda _: "1.0.0",
        _again,
    ),
    "repair": Flow(
        "repair",
        _damage,
        _installed,
        _installed,
        lambda _: None,
        lambda campaign: bool(campaign.bench.ferry("verify")["ok"]),
    ),
    "restore": Flow(
        "restore",
        _back_up,
        _installed,
        _installed,
        lambda _: None,
        lambda campaign: _accounts(campaign) == {"admin"},
    ),
    "uninstall": Flow("uninstall", lambda _: ["uninstall"], _installed, lambda _: "", _install),
}
BEGINS_WITH = {"install": 0, "upgrade": 1, "rollback": 2, "repair": 1, "restore": 1, "uninstall": 1}


def begin(campaign: Campaign, flow: Flow) -> int:
    """Bring the server to where a flow begins, run it once, and return how many steps it has."""
    for sequence in range(1, BEGINS_WITH[flow.name] + 1):
        campaign.expect(campaign.run(campaign.install_words(sequence)))
        campaign.sequence = sequence
    campaign.expect(campaign.run(flow.words(campaign)))
    count = len(campaign.steps())
    assert campaign.version() == flow.after(campaign)
    flow.reset(campaign)
    return count


def interrupt(campaign: Campaign, flow: Flow, kind: str, number: int) -> str:
    """Let one step fail; return which it was. Afterwards the server is where the flow begins again."""
    before, after, words = flow.before(campaign), flow.after(campaign), flow.words(campaign)
    done = campaign.run(words, kind, number)
    steps = campaign.steps()
    what = f"{flow.name}, {kind} at {steps[number - 1] if number <= len(steps) else 'no step'}"
    try:
        assert "Traceback" not in done.stderr, done.stderr
        if kind == "SIGKILL" and before:
            # A first install has no guard: nothing ran before it.
            campaign.settle()
        _look(campaign, flow, kind, (before, after), done.returncode)
        # An uninstall may have taken the program along that would do it again.
        if campaign.is_installed() or flow.name != "uninstall":
            campaign.expect(campaign.run(words))
        elif (campaign.bench.prefix / "bin" / "ferry").exists():
            subprocess.run([str(campaign.bench.prefix / "bin" / "ferry"), "uninstall"], check=True)
        assert campaign.version() == after and flow.is_right(campaign), "the same command again does not converge"
        assert campaign.leftovers() == [], campaign.leftovers()
    except BaseException as error:
        raise AssertionError(f"{what}: {error}\n{done.returncode}\n{done.stderr}") from error
    flow.reset(campaign)
    return what


def _look(campaign: Campaign, flow: Flow, kind: str, versions: tuple[str, str], status: int) -> None:
    """See that the old or the new release answers, and after a failure that was reported, that nothing is left over."""
    if flow.name == "uninstall":
        return
    found = campaign.version()
    assert found in versions, f"neither the old nor the new release runs: {found}"
    if kind != "SIGKILL":
        assert found == versions[1 if status == 0 else 0], f"exit {status}, but {found} runs"
        if status:
            assert campaign.leftovers() == [], campaign.leftovers()


def part(name: str, share: int, shares: int) -> int:
    """Do every so manieth step of a flow, from the share's own on; return how many interruptions that was."""
    os.umask(0o022)
    # The servers of all shares stop and start all the time: no other one may be told their ports meanwhile.
    ports.take_row(share)
    flow, done = FLOWS[name], 0
    with tempfile.TemporaryDirectory() as folder, benching(Path(folder)) as bench:
        campaign = Campaign(bench)
        count = begin(campaign, flow)
        for number in range(1 + share, count + 1, shares):
            for kind in KINDS:
                interrupt(campaign, flow, kind, number)
                done += 1
    return done


def main(names: list[str]) -> None:
    """Do all of it, a server on each processor at a time, and say how much it was."""
    shares, total = os.cpu_count() or 1, 0
    with ProcessPoolExecutor(shares) as pool:
        for name in names or list(FLOWS):
            started = time.monotonic()
            count = sum(pool.map(partial(part, name, shares=shares), range(shares)))
            print(f"{name}: {count} interruptions, in {time.monotonic() - started:.0f} s", flush=True)
            total += count
    print(f"{total} interruptions, and each time the old or the new release ran, and the same command again converged")


if __name__ == "__main__":
    main(sys.argv[1:])

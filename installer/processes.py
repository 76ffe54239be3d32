"""User mode's side of an installation: the web and the engine as two processes of one's own, without systemd.

Each leads a session, writes to a file in PREFIX/log and is recorded in PREFIX/run as process number and start time, so
that a number that the kernel gave to somebody else is never signalled.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from checksums import process
from checksums.errors import HealthError
from installer import admin, health, isolation
from installer.files import Changes
from installer.places import Places
from installer.progress import Progress

NAMES = ("web", "engine")
START_TIMEOUT_S = 60
# Both have 10 s to be gone (contract, section 4): most of it to end by themselves, the rest to be killed.
TERM_TIMEOUT_S = 7
KILL_TIMEOUT_S = 2
LOG_LINES = 15


@dataclass(frozen=True)
class Record:
    """A process as its file in PREFIX/run names it: number, and start time in clock ticks since boot."""

    pid: int
    started: int


@dataclass(frozen=True)
class Stat:
    """What /proc/PID/stat says of a process, proc(5)."""

    state: str
    session: int
    started: int


class Processes:
    """The two processes of an installation."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def prepare(self, _release: Path, changes: Changes, /) -> None:
        """Make the folders; nobody else reads them."""
        for folder in (self.places.data, self.places.log, self.places.cache, self.places.run):
            changes.folder(folder, 0o700)

    def start(self, progress: Progress) -> None:
        """Start both and return when the web answers.

        Raises:
            HealthError: one of them ended, or the web does not answer.
        """
        if self.state() == "running":
            return
        self.stop()
        settings = admin.ask(self.places, "config")
        url, certificate = str(settings["url"]), str(settings.get("certificate", ""))
        try:
            self._start_engine(progress)
            self._spawn("web", [])
            health.wait(url, START_TIMEOUT_S, lambda: self.state() == "failed", progress, "/healthz", certificate)
        except HealthError as error:
            self.stop()
            raise HealthError(error.message, f"see the files in {self.places.log}") from error

    def stop(self) -> None:
        """End both: they are asked, and killed when they do not end."""
        recorded = [record for name in NAMES if (record := self._record(name))]
        records = list(dict.fromkeys([*recorded, *self._strays()]))
        for record in records:
            _signal([record.pid] if _is_alive(record) else _members(record), signal.SIGTERM)
        _wait(records, TERM_TIMEOUT_S)
        for record in records:
            _signal(_members(record), signal.SIGKILL)
        _wait(records, KILL_TIMEOUT_S)
        for name in NAMES:
            self._file(name).unlink(missing_ok=True)

    def state(self) -> str:
        """Say "failed" when a process that was started is gone."""
        records = {name: record for name in NAMES if (record := self._record(name))}
        if not all(_is_alive(record) for record in records.values()):
            return "failed"
        return "running" if "web" in records else "stopped"

    def last_lines(self) -> str:
        """Return the end of both logs."""
        return "\n".join(line for name in NAMES for line in self._log_lines(name))

    def _start_engine(self, progress: Progress) -> None:
        wanted = process.run(
            self._command("engine", "--wanted"), cwd=self.places.app, env=self._environment, check=False
        )
        if wanted.returncode != 0:
            progress.step("the engine is another server's: [engine] url in ferry.toml")
            return
        wrapper = isolation.command()
        progress.step(
            "the engine has a network namespace of its own: it reaches nothing"
            if wrapper
            else "this kernel gives the engine no network namespace of its own: it could reach the network"
        )
        self._spawn("engine", wrapper)

    def _spawn(self, name: str, wrapper: list[str]) -> None:
        # Not `process.run`: this child outlives us.
        with (self.places.log / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                [*wrapper, *self._command(name)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.places.app,
                env=self._environment,
            )
        stat = _stat(child.pid)
        self._file(name).write_text(f"{child.pid} {stat.started if stat else 0}\n")

    def _command(self, name: str, *words: str) -> list[str]:
        return [str(self.places.python), "-m", f"service.{name}", *words]

    @property
    def _environment(self) -> dict[str, str]:
        return admin.environment(self.places)

    def _strays(self) -> Iterator[Record]:
        """Yield what runs and stands in no file: whoever started it was killed before it could write that down."""
        wanted = [" ".join(self._command(name)).encode() for name in NAMES]
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and any(words in _command_line(entry) for words in wanted):
                stat = _stat(int(entry.name))
                if stat and stat.session == int(entry.name):
                    yield Record(stat.session, stat.started)

    def _file(self, name: str) -> Path:
        return self.places.run / f"{name}.pid"

    def _record(self, name: str) -> Record | None:
        try:
            pid, started = self._file(name).read_text().split()
            record = Record(int(pid), int(started))
        except (OSError, ValueError):
            return None
        # Session 0 is every session from outside a pid namespace: a signal to it would end strangers.
        return record if record.pid > 1 else None

    def _log_lines(self, name: str) -> list[str]:
        try:
            lines = (self.places.log / f"{name}.log").read_text(errors="replace").splitlines()
        except OSError:
            return []
        return [f"{name}: {line}" for line in lines[-LOG_LINES:]]


def _command_line(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return b""


def _stat(pid: int) -> Stat | None:
    try:
        # The second field is the program's name in brackets and may hold anything.
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return Stat(words[0], int(words[3]), int(words[19]))


def _is_alive(record: Record) -> bool:
    stat = _stat(record.pid)
    return stat is not None and stat.started == record.started and stat.state != "Z"


def _members(record: Record) -> list[int]:
    """Return the living processes of the session that the recorded process led."""
    leader = _stat(record.pid)
    if leader and leader.started != record.started:
        return []
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if (stat := _stat(pid)) and stat.session == record.pid and stat.state != "Z"]


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _wait(records: list[Record], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while any(_members(record) for record in records) and time.monotonic() < end:
        time.sleep(0.1)

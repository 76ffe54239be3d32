"""How things are timed here: whole processes, one after the other in turns, medians, and what the machine was.

In: commands by name. Out: per command the seconds of each turn and the largest memory that one of its processes had.
"""

import json
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")


@dataclass
class Timing:
    """What one command took: wall seconds a turn, and its peak memory in bytes."""

    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    @property
    def median_s(self) -> float:
        """The middle one of all turns."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Command:
    """Something to time: what is to be done before it (not timed), and the words of the command."""

    words: Sequence[str]
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None


def measure(
    commands: Mapping[str, Command], turns: int, timings: dict[str, Timing] | None = None, warm_up: bool = False
) -> dict[str, Timing]:
    """Run every command once a turn, so that a change of the machine's mood meets all of them alike.

    With `warm_up` one more turn goes before, of which nothing is kept.
    """
    if warm_up:
        measure(commands, 1)
    timings = {} if timings is None else timings
    for _ in range(turns):
        for name, command in commands.items():
            command.before()
            seconds, peak_bytes = run(command.words)
            command.after()
            timing = timings.setdefault(name, Timing())
            timing.seconds.append(seconds)
            timing.peak_bytes = max(timing.peak_bytes, peak_bytes)
    return timings


def run(words: Sequence[str]) -> tuple[float, int]:
    """Run a command to its end and return its wall seconds and its peak memory in bytes.

    The peak is the kernel's own account of the child (ru_maxrss). Linux lets a child begin with its parent's: this
    program must stay small.

    Raises:
        RuntimeError: the command failed.
    """
    started = time.monotonic()
    process = subprocess.Popen(list(words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {process.returncode}\n{errors.decode(errors='replace')[-2000:]}")
    return seconds, usage.ru_maxrss * 1024


def own_peak_bytes() -> int:
    """Return this program's own peak memory: no child can show less.

    Source: VmHWM in proc(5). ru_maxrss would show the memory of whatever program started this one: it survives exec.
    """
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def forget(path: Path) -> None:
    """Drop a file from the page cache, so that the next read comes from the disk; needs no privilege.

    What the commands before left to the kernel to write is written first: the disk is to serve the next one alone. The
    file is read once before: on a virtual machine the first touch of memory is slow, and would be counted against
    whichever command comes first.
    """
    os.sync()
    warm(path)
    for file in [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]:
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def warm(path: Path) -> None:
    """Read a file, so that the next read comes from memory."""
    for file in [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]:
        with file.open("rb", buffering=0) as stream:
            while stream.read(1 << 20):
                pass


def machine() -> dict[str, object]:
    """Return what the figures depend on: processor, cores, memory, kernel, Python."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def record(report: dict[str, Any], part: str) -> None:
    """Add a report to the results, under its date and the part of the table that it is."""
    RESULTS.mkdir(exist_ok=True)
    stamp = report["date"][:16].replace(":", "")
    (RESULTS / f"{stamp}-{part}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")

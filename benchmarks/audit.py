"""The audit log: how fast it is checked beside reading and hashing the same bytes, and what an event costs to write.

Ten million lines of chats, as the service writes them, in files of 64 MiB. The appends are those of 16 threads of one
process that write at once, each waiting until its line is on the disk.
"""

import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.clock import Command, Timing, machine, measure, record
from service import config
from service.web import audit_anchor
from service.web.audit import Audit
from service.web.audit_anchor import Anchor, Mark
from service.web.audit_chain import CURRENT, START, Head, rotated_name

FOLDER = Path(os.environ.get("BENCH_FOLDER", "~/.cache/ferry/bench")).expanduser() / "audit"
LINES = int(os.environ.get("BENCH_AUDIT_LINES", "10_000_000"))
LINES_A_FILE = 320_000
TURNS = int(os.environ.get("BENCH_TURNS", "5"))
WRITERS, EVENTS = 16, 2_000
DAY = "20260101"
FACTS = '"at":"2026-01-01T12:00:05.494+00:00","event":"chat","user":"user-%d","address":"10.0.0.7","answer_tokens":123'
CHECK = """
import sys
from pathlib import Path
from service.web import audit_verify
report = audit_verify.verify(Path(sys.argv[1]), Path(sys.argv[2]), jobs=int(sys.argv[3]))
assert report.is_ok and report.lines == int(sys.argv[4]), report
"""


def main() -> None:
    """Measure, print a table, and record it."""
    report: dict[str, Any] = {"date": datetime.now(timezone.utc).isoformat(timespec="seconds"), "machine": machine()}
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        size_bytes = write_log(FOLDER / "log", FOLDER / "data")
        report |= {"lines": LINES, "bytes": size_bytes}
        timings = measure(_commands(), TURNS, warm_up=True)
        report["rows"] = {name: row(timing, size_bytes) for name, timing in timings.items()}
        report["events a second"] = _appended(FOLDER / "small")
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    record(report, "audit")
    print(render(report))


def write_log(log: Path, data: Path) -> int:
    """Write a log of LINES lines and its anchor; return how many bytes it has."""
    log.mkdir(parents=True)
    data.mkdir()
    previous, size_bytes, first, size = START.hash.encode(), 0, 1, 0
    for first in range(1, LINES + 1, LINES_A_FILE):
        last = min(first + LINES_A_FILE - 1, LINES)
        name = CURRENT if last == LINES else rotated_name(DAY, first)
        with (log / name).open("wb", 1 << 20) as file:
            for seq in range(first, last + 1):
                line = b'{"prev":"%s","seq":%d,%s}\n' % (previous, seq, (FACTS % (seq % 97)).encode())
                file.write(line)
                previous = sha256(line).hexdigest().encode()
            size = file.tell()
        size_bytes += size
    with audit_anchor.locked(data) as descriptor:
        audit_anchor.write(descriptor, Anchor.at(Mark(Head(LINES, previous.decode()), size), first, DAY))
    return size_bytes


def _commands() -> dict[str, Command]:
    log, data = str(FOLDER / "log"), str(FOLDER / "data")
    check = [sys.executable, "-c", CHECK, log, data]
    return {
        "verify": Command([*check, "0", str(LINES)]),
        "verify, one process": Command([*check, "1", str(LINES)]),
        "cat": Command(["sh", "-c", 'cat "$1"/*', "cat", log]),
        "sha256sum": Command(["sh", "-c", 'cat "$1"/* | sha256sum', "hash", log]),
    }


def _appended(folder: Path) -> float:
    for name in ("log", "data"):
        (folder / name).mkdir(parents=True)
    audit = Audit(folder / "log", folder / "data", config.Audit())
    began = time.monotonic()
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda number: audit.write("chat", user=f"user-{number}", outcome="complete"), range(EVENTS)))
    return round(EVENTS / (time.monotonic() - began))


def row(timing: Timing, size_bytes: int) -> dict[str, float]:
    """Return one row of the table."""
    seconds = timing.median_s
    speed = {"mb_a_second": round(size_bytes / seconds / 1e6), "lines_a_second": round(LINES / seconds)}
    return {"seconds": round(seconds, 2), **speed, "peak_mib": round(timing.peak_bytes / 2**20)}


def render(report: dict[str, Any]) -> str:
    """Return the table."""
    lines = [f"{report['lines']:,} lines, {report['bytes'] / 1e9:.2f} GB", ""]
    lines.append(f"{'':22}{'seconds':>9}{'MB/s':>8}{'lines/s':>12}{'peak MiB':>10}")
    for name, found in report["rows"].items():
        speed = f"{found['mb_a_second']:>8,}{found['lines_a_second']:>12,}"
        lines.append(f"{name:22}{found['seconds']:>9.2f}{speed}{found['peak_mib']:>10}")
    lines.append(f"\n{WRITERS} writers at once: {report['events a second']:,.0f} events a second, each on the disk")
    return "\n".join(lines)

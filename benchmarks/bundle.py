"""The build side's figures: packing and verifying a bundle, against what the machine can do with the same files.

Everything runs in one go and in turns, as whole processes, on the same files and file system; what counts is ratios of
medians. How to read them: benchmarks/README.md.
"""

import os
import shutil
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks import packing
from benchmarks.clock import Command, Timing, forget, machine, measure, own_peak_bytes, record, warm

TURNS = int(os.environ.get("BENCH_TURNS", "5"))
WEIGHTS_BYTES, WHEELS_BYTES = 1_200_000_000, 240_000_000  # as in qwen1.5-0.5b-chat
LARGE_BYTES = 9_000_000_000
PACK_RATIO, VERIFY_RATIO, PEAK_BYTES = 0.7, 0.8, 200_000_000
PYTHON = sys.executable


def main() -> None:
    """Measure, print a table, and record it."""
    if shutil.which("openssl") is None:
        sys.exit("error: openssl: command not found\nhint: install it: it is what Ferry is compared with")
    root = Path(os.environ.get("BENCH_FOLDER") or Path.home() / ".cache" / "ferry" / "bench")
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as folder:
        timings, size_bytes = _ordinary(Path(folder, "ordinary"))
        large = _large(Path(folder, "large"))
    report: dict[str, Any] = {"date": datetime.now(timezone.utc).isoformat(timespec="seconds"), "machine": machine()}
    report |= {"turns": TURNS, "bytes": size_bytes, "ratios": ratios(timings)}
    report["peak_bytes"] = _peaks(timings, large)
    report["seconds"] = {name: [round(second, 3) for second in timing.seconds] for name, timing in timings.items()}
    record(report, "bundle")
    print(table(report))


def _ordinary(folder: Path) -> tuple[dict[str, Timing], int]:
    """Time packing and verifying a bundle of ordinary size, and the yardsticks; in turns, sources in memory."""
    files, copies, out = (
        packing.prepare(folder / "files", WEIGHTS_BYTES, WHEELS_BYTES),
        folder / "copies",
        folder / "out",
    )
    payload = folder / "files" / "payload"
    tarball = packing.write(folder / "files", folder / "verified")
    size_bytes = sum(path.stat().st_size for path in files)
    names = [str(path) for path in files]
    cores = str(os.cpu_count())

    def command(*words: str, made: Path | None = None, cold: Path | None = None) -> Command:
        def before() -> None:
            forget(cold) if cold else warm(payload if made else tarball)

        def after() -> None:
            shutil.rmtree(made, ignore_errors=True) if made else None

        return Command(words, before, after)

    copy = ["cp", "-r", str(payload), str(copies)]
    hash_all = f'printf "%s\\0" "$@" | xargs -0 -n 1 -P {cores} openssl dgst -sha256'
    verify = [PYTHON, "-m", "bundle", "verify", "--quiet", "--insecure-unsigned", str(tarball)]
    writing = {
        "pack": command(PYTHON, "-m", "benchmarks.packing", str(folder / "files"), str(out), made=out),
        "cp, sync": command("sh", "-euc", '"$@"; sync -f "$0"', str(folder), *copy, made=copies),
        "cp": command(*copy, made=copies),
        "openssl": command("openssl", "dgst", "-sha256", *names, made=copies),
    }
    reading = {
        "verify, cold": command(*verify, cold=tarball),
        "read, cold": command("dd", f"if={tarball}", "of=/dev/null", "bs=4M", cold=tarball),
        "verify, warm": command(*verify),
        "hash, all cores": command("sh", "-euc", hash_all, "sh", *names, made=copies),
    }
    # Apart: what writes gives its memory back, and on a virtual machine the next one to touch it waits for it.
    return measure(writing, TURNS, warm_up=True) | measure(reading, TURNS, warm_up=True), size_bytes


def _large(folder: Path) -> dict[str, Timing]:
    """Pack and verify a bundle with one huge file, a hole, once: memory alone counts."""
    packing.prepare(folder / "files", LARGE_BYTES, WHEELS_BYTES, is_sparse=True)
    tarball = folder / "out" / f"{packing.NAME}.tar"
    return measure(
        {
            "pack": Command([PYTHON, "-m", "benchmarks.packing", str(folder / "files"), str(folder / "out")]),
            "verify": Command([PYTHON, "-m", "bundle", "verify", "--quiet", "--insecure-unsigned", str(tarball)]),
        },
        1,
    )


def ratios(timings: dict[str, Timing]) -> dict[str, float]:
    """Return every ratio of speeds; above 1 is faster than the yardstick."""
    seconds = {name: timing.median_s for name, timing in timings.items()}
    slower = max(seconds["read, cold"], seconds["hash, all cores"])
    found = {
        "pack / (cp, sync + openssl)": (seconds["cp, sync"] + seconds["openssl"]) / seconds["pack"],
        "pack / (cp without sync + openssl)": (seconds["cp"] + seconds["openssl"]) / seconds["pack"],
        "verify, cold / the slower of read and hash": slower / seconds["verify, cold"],
        "verify, warm / the slower of read and hash": slower / seconds["verify, warm"],
    }
    return {name: round(value, 2) for name, value in found.items()}


def _peaks(timings: dict[str, Timing], large: dict[str, Timing]) -> dict[str, int]:
    ordinary = {name: timings[name].peak_bytes for name in ("pack", "verify, cold", "verify, warm")}
    huge = {f"{name}, {LARGE_BYTES / 1e9:g} GB": timing.peak_bytes for name, timing in large.items()}
    return ordinary | huge | {"the benchmark itself": own_peak_bytes()}


def table(report: dict[str, Any]) -> str:
    """Return the report for people."""
    size_bytes, needed = report["bytes"], {"pack / (cp, sync": PACK_RATIO, "verify": VERIFY_RATIO}
    lines = [f"{name}: {value}" for name, value in report["machine"].items()]
    lines += ["", f"{'process':<20}{'median s':>10}{'GB/s':>8}   all turns, s"]
    for name, seconds in report["seconds"].items():
        median = sorted(seconds)[len(seconds) // 2]
        turns = " ".join(f"{second:.2f}" for second in seconds)
        lines.append(f"{name:<20}{median:>10.2f}{size_bytes / median / 1e9:>8.2f}   {turns}")
    lines += ["", f"{'ratio of speeds':<46}{'found':>8}{'needed':>8}"]
    for name, value in report["ratios"].items():
        wanted = next((str(least) for start, least in needed.items() if name.startswith(start)), "-")
        lines.append(f"{name:<46}{value:>8.2f}{wanted:>8}")
    lines += ["", f"{'peak memory':<46}{'MB':>8}{'allowed':>8}"]
    lines += [f"{name:<46}{peak / 1e6:>8.0f}{PEAK_BYTES / 1e6:>8.0f}" for name, peak in report["peak_bytes"].items()]
    return "\n".join(lines)

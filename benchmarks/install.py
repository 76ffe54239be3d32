"""The server side's figures: installing the demo bundle against its floors, and going back, in user mode.

The floors are what no installer can do without, timed in the same turns: reading and hashing the tarball, and uv's own
offline install of the same wheels. An install is timed in two parts, by its own lines: until the release stands, and
from there until it has answered, which is the engine's load. How to read the figures: benchmarks/README.md.
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import uv

from benchmarks.clock import machine, record, run

ROOT = Path(__file__).resolve().parent.parent
TURNS = int(os.environ.get("BENCH_TURNS", "5"))
INSTALL_RATIO, ROLLBACK_S = 1.5, 10
# The first line of an install that speaks of the running service.
SWITCHES = ("ferry: the engine", "ferry: this kernel", "ferry: waiting")
PYTHON = sys.executable


def main() -> None:
    """Measure, print a table, and record it."""
    root = Path(os.environ.get("BENCH_FOLDER") or Path.home() / ".cache" / "ferry" / "bench")
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as folder:
        media = Path(folder, "media")
        bundles = [build(media, version) for version in ("1.0.0", "1.0.1")]
        seconds = measure(Path(folder), media, bundles)
    medians = {name: round(statistics.median(values), 2) for name, values in seconds.items()}
    report: dict[str, Any] = {"date": datetime.now(timezone.utc).isoformat(timespec="seconds"), "machine": machine()}
    report |= {"turns": TURNS, "ratios": ratios(medians), "medians": medians}
    report["seconds"] = {name: [round(value, 3) for value in values] for name, values in seconds.items()}
    record(report, "install")
    print(table(report))


def build(media: Path, version: str) -> Path:
    """Build the demo bundle; the second is an upgrade that changes nothing but its number."""
    key = media.with_name("key")
    subprocess.run(["sh", "make/signing_key.sh", str(key)], cwd=ROOT, check=True)
    sequence = version.replace(".", "")
    words = ["--profile", "demo", "--out", str(media), "--sign-key", str(key), "--version", version]
    command = [PYTHON, "-m", "bundle", "build", *words, "--sequence", sequence, "--quiet"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (found,) = media.glob(f"ferry-demo-{version}-*.tar")
    return found


def measure(folder: Path, media: Path, bundles: list[Path]) -> dict[str, list[float]]:
    """Run every part once a turn, so that a change of the machine's mood meets all of them alike."""
    seconds: dict[str, list[float]] = {}
    wheels = unpack_wheels(folder, bundles[0])
    for _ in range(TURNS):
        found = {"hash": run(["openssl", "dgst", "-sha256", str(bundles[0])])[0]}
        found["uv"] = uv_install(folder, wheels)
        prefix = folder / "prefix"
        found["install"], found["first answer"] = install(prefix, media, bundles[0])
        found["upgrade"], found["upgrade's answer"] = install(prefix, media, bundles[1])
        found["rollback"], found["rollback's answer"] = timed([str(prefix / "bin" / "ferry"), "rollback"])
        subprocess.run([str(prefix / "bin" / "ferry"), "uninstall", "--purge"], check=True, capture_output=True)
        for name, value in found.items():
            seconds.setdefault(name, []).append(value)
    return seconds


def unpack_wheels(folder: Path, bundle: Path) -> Path:
    """Return a folder with the bundle's wheels."""
    subprocess.run(["tar", "-xf", str(bundle), "-C", str(folder), "--wildcards", "*/payload/wheels/*"], check=True)
    return next(folder.glob("ferry-demo-*/payload/wheels"))


def uv_install(folder: Path, wheels: Path) -> float:
    """Let uv install the wheels into a new environment, offline and with an empty cache, and compile nothing."""
    venv, cache = folder / "venv", folder / "cache"
    program = uv.find_uv_bin()
    subprocess.run([program, "venv", "--quiet", "--no-project", "--python", PYTHON, str(venv)], check=True)
    words = ["--offline", "--no-index", "--no-deps", "--quiet", "--cache-dir", str(cache), "--link-mode", "hardlink"]
    names = [str(wheel) for wheel in sorted(wheels.iterdir())]
    seconds = run([program, "pip", "install", "--python", str(venv / "bin" / "python"), *words, *names])[0]
    shutil.rmtree(venv)
    shutil.rmtree(cache)
    return seconds


def install(prefix: Path, media: Path, bundle: Path) -> tuple[float, float]:
    """Install a bundle and return the seconds until the release stood, and from there until it had answered."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    words = ["--user-mode", "--prefix", str(prefix), "--listen", address, "--python", PYTHON, "--yes"]
    trust = ["--allowed-signers", str(media / "allowed_signers")]
    return timed(["sh", str(media / "install.sh"), str(bundle), *trust, *words])


def timed(command: list[str]) -> tuple[float, float]:
    """Run a command and return the seconds before and after its first line about the service that starts."""
    began = time.monotonic()
    switched = 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if not switched and line.startswith(SWITCHES):
                switched = time.monotonic()
    if process.returncode or not switched:
        raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}\n{''.join(said)[-2000:]}")
    return switched - began, time.monotonic() - switched


def ratios(medians: dict[str, float]) -> dict[str, float]:
    """Return how often the floors' time an install takes, and the seconds of a rollback without the engine's load."""
    return {"install / (hash + uv)": round(medians["install"] / (medians["hash"] + medians["uv"]), 2)}


def table(report: dict[str, Any]) -> str:
    """Return the report for people."""
    lines = [f"{name}: {value}" for name, value in report["machine"].items()]
    lines += ["", f"{'part':<24}{'median s':>10}   all turns, s"]
    for name, values in report["seconds"].items():
        lines.append(f"{name:<24}{report['medians'][name]:>10.2f}   {' '.join(f'{value:.2f}' for value in values)}")
    lines += ["", f"{'':<40}{'found':>8}{'allowed':>8}"]
    for name, value in report["ratios"].items():
        lines.append(f"{name:<40}{value:>8.2f}{INSTALL_RATIO:>8}")
    lines.append(f"{'rollback without the load, s':<40}{report['medians']['rollback']:>8.2f}{ROLLBACK_S:>8}")
    return "\n".join(lines)

"""A file above 4 GiB and one above 8 GiB cross over whole: built, split, joined, verified and installed.

They are holes with a few bytes where counters of 32 bits, and tar's of 33, would go round. Holes stay holes on the
whole way, so this takes no more room on the disk than a small bundle does.
"""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_bundle
import small_checkout
import tiny_model
from install_bench import Bench

GIB = 1 << 30
SIZES = {"above-4-gib": 4 * GIB + 4097, "above-8-gib": 8 * GIB + 1}
PEAK_BYTES = 200_000_000
# Linux shows a parent's size as its child's: this one is small. It writes the child's peak into a file.
MEASURED = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[2:]).returncode
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024))
sys.exit(status)
"""


def write_giant(path: Path, size: int) -> None:
    """Write a safetensors file of one tensor that holds a few bytes, around every GiB and at its end, and no others."""
    header = json.dumps({"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    start = 8 + len(header)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for at in [*range(GIB, size, GIB), size]:
            file.seek(start + at - 3)
            file.write(b"end")
    assert path.stat().st_size == start + size


def extents(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield what a file holds beside zeros, by position; files that agree in these and in size are the same."""
    with path.open("rb", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        at = 0
        while at < end:
            try:
                at = file.seek(at, os.SEEK_DATA)
            except OSError:
                return
            stop = file.seek(at, os.SEEK_HOLE)
            file.seek(at)
            data = file.read(stop - at)
            assert len(data) == stop - at
            yield from ((at + found.start(), found[0]) for found in re.finditer(rb"[^\0]+", data))
            at = stop


def content(path: Path) -> tuple[int, list[tuple[int, bytes]]]:
    return path.stat().st_size, list(extents(path))


def disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("giants")
    small_checkout.make_installable(folder / "checkout")
    small_checkout.profile(folder, "giants", source="folder", path="model", id="Tests/Giants")
    (folder / "model").mkdir()
    tiny_model.write_large(folder / "model", [5_000])
    for name, size in SIZES.items():
        write_giant(folder / "model" / f"{name}.safetensors", size)
    return Bench(folder, small_bundle.make_key(folder / "key"), folder / "prefix")


def run(bench: Bench, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(bench.folder / "checkout"), "SOURCE_DATE_EPOCH": "1735689600"}
    peak = bench.folder / "peak"
    command = [sys.executable, "-c", MEASURED, str(peak), sys.executable, "-m", "bundle", *words]
    done = subprocess.run(command, cwd=bench.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(peak.read_text()) < PEAK_BYTES
    return done.stdout


def test_giants_cross_over_whole(bench: Bench) -> None:
    run(bench, "build", "--profile", "giants.toml", "--out", "parts", "--sign-key", "key", "--split", "1GiB")
    parts = sorted((bench.folder / "parts").glob("*.tar.0??"))
    assert [part.stat().st_size for part in parts[:-1]] == [GIB] * 12
    assert disk_bytes(bench.folder / "parts") < GIB
    bundle = Path(run(bench, "join", *map(str, reversed(parts)), "--out", "joined").strip())
    report: dict[str, Any] = json.loads(run(bench, "verify", str(bundle), "--allowed-signers", "key.allowed", "--json"))
    assert report["ok"]
    bench.install_file(bench.folder / bundle, "--yes", "--accept-license")
    for name in SIZES:
        source = bench.folder / "model" / f"{name}.safetensors"
        (installed,) = bench.prefix.glob(f"releases/*/model/{name}.safetensors")
        assert content(installed) == content(source)
        assert len(content(source)[1]) > 4
    assert disk_bytes(bench.folder) < 2 * GIB


def test_nothing_keeps_running(bench: Bench) -> None:
    bench.ferry("stop")
    assert bench.processes() == []

"""SIGKILL at twenty moments of a download, each followed by another run: what was complete is never asked for again."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import small_checkout
import tiny_model
from local_hub import LISTING, LocalHub, serving

KILLS = 20
SEED = 20_240_204
BYTES_PER_S = 80e6
# A file of 25 MB then has as many pieces as one of 200 MB has.
PIECES, SMALLER = "PIECE_BYTES = 16 << 20", "PIECE_BYTES = 2 << 20"
NAME = "ferry-resumed-0.1.0-x86_64"
PART = re.compile(r"([0-9a-f]{64})\.part(?:\.(\d+)-\d+)?")
Ranges = list[tuple[str, int, int]]
Build = subprocess.Popen[str]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small_checkout.make(tmp_path_factory.mktemp("checkout"))
    small_checkout.profile(folder, "resumed", source="modelscope", id="Qwen/Qwen1.5-0.5B-Chat")
    code = folder / "bundle" / "partial.py"
    assert PIECES in code.read_text()
    code.write_text(code.read_text().replace(PIECES, SMALLER))
    return folder


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    """A model of 38 MB in two shards, sent at 80 MB a second."""
    folder = tiny_model.write_large(tmp_path_factory.mktemp("published"), [25_000_000, 13_000_000])
    with serving(LocalHub(folder, bytes_per_s=BYTES_PER_S)) as running:
        yield running


def kill(process: Build) -> None:
    process.kill()


@dataclass
class Run:
    """One cache of its own, and builds that share it."""

    hub: LocalHub
    checkout: Path
    folder: Path
    errors: str = field(default="")

    def build(self, at_bytes: int | None = None, action: Callable[[Build], object] = kill, before: str = "") -> int:
        """Build, and act as soon as the hub has sent so many bytes; return the exit status.

        `before` is what a shell does first.
        """
        self.hub.answers.clear()
        self.hub.requests.clear()
        command = [sys.executable, "-m", "bundle", "build", "--profile", str(self.checkout / "resumed.toml")]
        command += ["--hub-endpoint", self.hub.address, "--out", str(self.folder / "out"), "--version", "0.1.0"]
        environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "SOURCE_DATE_EPOCH": "1735689600",
            "PYTHONPATH": str(self.checkout),
        }
        if before:
            command = ["sh", "-euc", f'{before}; exec "$@"', "sh", *command]
        with subprocess.Popen(command, cwd=self.folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
            if at_bytes is not None:
                self.hub.on_bytes = lambda total: self._act(process, action) if total >= at_bytes else None
            self.errors = process.communicate(timeout=120)[1]
        self.hub.on_bytes = None
        return process.returncode

    def _act(self, process: Build, action: Callable[[Build], object]) -> None:
        self.hub.on_bytes = None
        action(process)

    def held(self) -> Ranges:
        """Return which bytes lie on the disk, after looking that they are the hub's."""
        by_digest = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in files(self.hub.folder)}
        found: Ranges = []
        for path in files(self.folder / "cache" / "ferry" / "models"):
            if part := PART.fullmatch(path.name):
                original, start = by_digest[part[1]], int(part[2] or 0)
            elif path.suffix == ".json" and path.stem == self.hub.commit:
                continue
            else:
                original, start = self.hub.folder / path.relative_to(next(iter(self.commits()))), 0
            data = path.read_bytes()
            assert original.read_bytes()[start : start + len(data)] == data
            found.append((original.relative_to(self.hub.folder).as_posix(), start, start + len(data)))
        return found

    def commits(self) -> Iterator[Path]:
        yield from (self.folder / "cache" / "ferry" / "models").glob(f"*/*/{self.hub.commit}")

    def asked(self) -> Ranges:
        """Return which bytes were asked for."""
        found: Ranges = []
        for path, words in self.hub.requests:
            if path != LISTING:
                start, _, last = words.removeprefix("bytes=").partition("-")
                stop = int(last) + 1 if last else (self.hub.folder / path).stat().st_size
                found.append((path, int(start or 0), stop))
        return found


def fresh(hub: LocalHub, checkout: Path, folder: Path) -> Run:
    small_checkout.share_wheels(folder / "cache")
    return Run(hub, checkout, folder)


def fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))


def files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def common(first: Ranges, second: Ranges) -> Ranges:
    """Return what both hold."""
    overlaps = [(a, max(b, e), min(c, f)) for a, b, c in first for d, e, f in second if a == d]
    return [(path, start, stop) for path, start, stop in overlaps if start < stop]


def union(ranges: Ranges) -> Ranges:
    """Return the same bytes, each once: a kill between moving a piece into the head and removing it leaves both."""
    once: Ranges = []
    for path, start, stop in sorted(ranges):
        if once and once[-1][0] == path and start <= once[-1][2]:
            once[-1] = (path, once[-1][1], max(stop, once[-1][2]))
        else:
            once.append((path, start, stop))
    return once


def total(ranges: Ranges) -> int:
    return sum(stop - start for _, start, stop in ranges)


def moments(size_bytes: int) -> list[int]:
    chosen = random.Random(SEED)
    return [chosen.randrange(size_bytes) for _ in range(KILLS)]


def test_a_build_that_is_killed_goes_on_from_every_byte_that_it_had(
    checkout: Path, hub: LocalHub, tmp_path: Path
) -> None:
    """At the hub: nothing that lay on the disk is asked for again, and with what lay there it is exactly everything."""
    everything = sum(path.stat().st_size for path in files(hub.folder))
    bundles, resumed = set(), 0
    for number, moment in enumerate(moments(everything)):
        run = fresh(hub, checkout, tmp_path / str(number))
        assert run.build(at_bytes=moment) == -signal.SIGKILL, run.errors
        assert not list(run.folder.glob("out/*.tar"))
        held = run.held()
        assert run.build() == 0, run.errors
        assert common(run.asked(), held) == []
        assert total(run.asked()) + total(union(held)) == everything
        assert sum(answer.count for answer in hub.answers) == total(run.asked())
        tarball = run.folder / "out" / f"{NAME}.tar"
        bundles.add(hashlib.sha256(tarball.read_bytes()).hexdigest())
        resumed += total(held) > 0
        if number == 0:
            assert_correct(tarball, hub)
        shutil.rmtree(run.folder)
    assert len(bundles) == 1
    assert resumed > KILLS // 2


def assert_correct(tarball: Path, hub: LocalHub) -> None:
    with tarfile.open(tarball) as archive:
        manifest = json.load(archive.extractfile(f"{NAME}/manifest.json") or sys.stdin)
        assert manifest["model"]["commit"] == hub.commit
        for path in files(hub.folder):
            member = archive.extractfile(f"{NAME}/payload/model/{path.relative_to(hub.folder).as_posix()}")
            assert member is not None
            assert member.read() == path.read_bytes()


def goes_on(run: Run) -> None:
    """Build once more: nothing that lies on the disk is asked for again."""
    assert not list(run.folder.glob("out/*.tar"))
    held = run.held()
    assert total(held) > 0
    assert run.build() == 0, run.errors
    assert common(run.asked(), held) == []


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_download_exits_130_soon_and_goes_on(
    checkout: Path, hub: LocalHub, tmp_path: Path, sent: int
) -> None:
    run = fresh(hub, checkout, tmp_path)
    assert run.build(at_bytes=9_000_000, action=lambda process: process.send_signal(sent)) == 130
    assert "error: interrupted" in run.errors
    assert sum(answer.count for answer in hub.answers) < 38_000_000
    goes_on(run)


def test_a_file_system_that_takes_no_more_is_one_clear_error_and_the_next_run_goes_on(
    checkout: Path, hub: LocalHub, tmp_path: Path
) -> None:
    run = fresh(hub, checkout, tmp_path)
    assert run.build(before="ulimit -f 12000") == 1
    assert run.errors.count("error:") == 1
    assert re.search(r"error: .*\.part.*: File too large\nhint: make room there", run.errors), run.errors
    goes_on(run)


@pytest.mark.e2e
def test_a_disk_that_is_full_is_one_clear_error_and_the_next_run_goes_on(
    checkout: Path, hub: LocalHub, tmp_path: Path
) -> None:
    """A real file system, filled by somebody else while the weights arrive."""
    disk = tmp_path / "cache"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", disk], check=True)
    try:
        run = fresh(hub, checkout, tmp_path)
        assert run.build(at_bytes=9_000_000, action=lambda _: fill(disk / "filler")) == 1, run.errors
        assert run.errors.count("error:") == 1
        assert "No space left on device" in run.errors
        (disk / "filler").unlink()
        goes_on(run)
    finally:
        subprocess.run(["umount", disk], check=True)

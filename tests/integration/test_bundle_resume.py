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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tiny_model
from local_hub import LISTING, LocalHub, serving

from bundle import cache, lock, targets

ROOT = Path(__file__).resolve().parents[2]
KILLS = 20
SEED = 20_240_204
BYTES_PER_S = 80e6
NAME = "ferry-resumed-0.1.0-x86_64"
PROFILE = """
[target]
python = "3.11"
platform = "x86_64"
glibc = "2.28"
[python]
source = "host"
[model]
source = "modelscope"
id = "Qwen/Qwen1.5-0.5B-Chat"
license = "none"
commercial_use = true
"""
PART = re.compile(r"([0-9a-f]{64})\.part(?:\.(\d+)-\d+)?")
Ranges = list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ferry with a service that needs two small wheels, so that a build takes as long as its model does."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("bundle", "checksums", "installer", "service", "systemd"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "vendor"))
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE")
    target = targets.make_target("3.11", "x86_64", "2.28")
    committed = folder / "bundle" / "locks" / targets.lock_name(target)
    kept = tuple(w for w in lock.parse(committed.read_text(), "lock").wheels if w.name in ("click", "tqdm"))
    requirements = "".join(f"{wheel.name}=={wheel.version}\n" for wheel in kept)
    (folder / "requirements.in").write_text(requirements)
    committed.write_text(lock.render(lock.Lock(lock.requirements_digest(requirements), kept), target))
    (folder / "resumed.toml").write_text(PROFILE)
    return folder


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    """A model of 38 MB in two shards, sent at 80 MB a second."""
    folder = tiny_model.write_large(tmp_path_factory.mktemp("published"), [25_000_000, 13_000_000])
    with serving(LocalHub(folder, bytes_per_s=BYTES_PER_S)) as running:
        yield running


@dataclass
class Run:
    """One cache of its own, and builds that share it."""

    hub: LocalHub
    checkout: Path
    folder: Path
    errors: str = field(default="")

    def build(self, kill_at_bytes: int | None = None) -> int:
        """Build, killed as soon as the hub has sent so many bytes; return the exit status."""
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
        with subprocess.Popen(command, cwd=self.folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
            if kill_at_bytes is not None:
                self.hub.on_bytes = lambda total: process.kill() if total >= kill_at_bytes else None
            self.errors = process.communicate(timeout=120)[1]
        self.hub.on_bytes = None
        return process.returncode

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


def files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def common(first: Ranges, second: Ranges) -> Ranges:
    """Return what both hold."""
    overlaps = [(a, max(b, e), min(c, f)) for a, b, c in first for d, e, f in second if a == d]
    return [(path, start, stop) for path, start, stop in overlaps if start < stop]


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
        run = Run(hub, checkout, tmp_path / str(number))
        (run.folder / "cache" / "ferry").mkdir(parents=True)
        (run.folder / "cache" / "ferry" / "wheels").symlink_to(cache.folder("wheels"))
        assert run.build(kill_at_bytes=moment) == -signal.SIGKILL, run.errors
        assert not list(run.folder.glob("out/*.tar"))
        held = run.held()
        assert total(held) <= moment + (1 << 20)
        assert run.build() == 0, run.errors
        assert common(run.asked(), held) == []
        assert total(run.asked()) + total(held) == everything
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

"""A build that is killed, or whose disk is full: nothing stands under a final name, and the next run clears up."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import small_bundle
import small_checkout
import tiny_model
from small_bundle import Recipe

from bundle import pack
from bundle.artifacts import Artifact, of_bytes
from bundle.progress import Progress
from bundle.signing import Signing
from checksums.hashing import copy_hashing
from checksums.layout import INSTALLER
from checksums.new_file import NewFile

SCRIPT = small_bundle.ROOT / "installer" / "install.sh"
HOLE_BYTES = 2 << 30
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted: run as root")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout, a model with a hole that takes a while to pack, and one that is larger than a very small disk."""
    folder = tmp_path_factory.mktemp("interrupted")
    small_checkout.make(folder / "checkout")
    for name, size in {"slow": 5_000, "dense": 3_000_000}.items():
        (folder / name).mkdir()
        tiny_model.write_large(folder / name, [size])
        small_checkout.profile(folder, name, source="folder", path=name, id="Tests/Interrupted")
    header = f'{{"w":{{"dtype":"U8","shape":[{HOLE_BYTES}],"data_offsets":[0,{HOLE_BYTES}]}}}}'.encode()
    with (folder / "slow" / "hole.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + HOLE_BYTES)
    return folder


def start(folder: Path, profile: str, out: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder / "checkout"), "SOURCE_DATE_EPOCH": "1735689600"}
    command = [sys.executable, "-m", "bundle", "build", "--profile", f"{profile}.toml", "--out", str(out)]
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def test_a_killed_build_leaves_no_bundle_and_the_next_one_clears_up(folder: Path, tmp_path: Path) -> None:
    with start(folder, "slow", tmp_path) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob(".building-*/*.tar")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".building-")
    with start(folder, "dense", tmp_path) as process:
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ferry-dense-0.1.0-x86_64.tar", "install.sh"]


@contextmanager
def small_disk(place: Path, size_bytes: int) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@needs_root
def test_a_build_on_a_full_disk_says_so_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2 << 20) as disk:
        with start(folder, "dense", disk) as process:
            _, errors = process.communicate()
        assert process.returncode == 1
        assert "2 MB are free" in errors
        assert list(disk.iterdir()) == []


@needs_root
def test_a_disk_that_fills_up_meanwhile_leaves_nothing_either(tmp_path: Path) -> None:
    data = os.urandom(4_000_000)
    files = {INSTALLER: b"x", "payload/model/large": data}
    manifest = small_bundle.manifest(Recipe(is_installable=False), files)
    os.mkfifo(tmp_path / "large")
    large = Artifact("payload/model/large", tmp_path / "large", len(data), hashlib.sha256(data).hexdigest())

    def fill_up(disk: Path) -> None:
        with (tmp_path / "large").open("wb") as source, suppress(BrokenPipeError):
            assert list(disk.glob(".building-*/*.tar"))
            (disk / "of somebody else").write_bytes(bytes(4_000_000))
            source.write(data)

    with small_disk(tmp_path / "disk", 6 << 20) as disk, ThreadPoolExecutor(1) as pool:
        filled = pool.submit(fill_up, disk)
        with pytest.raises(OSError, match="No space left on device"):
            pack.write(manifest, [of_bytes(INSTALLER, b"x"), large], SCRIPT, Signing(), disk, Progress(quiet=True))
        filled.result()
        assert [path.name for path in disk.iterdir()] == ["of somebody else"]


@needs_root
@pytest.mark.parametrize("missing", [0, 1, 4096, 4097, 300_000, 1_200_000])
def test_a_disk_that_is_full_at_any_byte_of_a_file_is_noticed(tmp_path: Path, missing: int) -> None:
    """The kernel takes what still fits of a write and says so by its count alone."""
    size = 1_500_000 // 4096 * 4096
    data = os.urandom(size + missing)
    with small_disk(tmp_path / "disk", size) as disk, NewFile(disk / "file") as file:
        try:
            copy_hashing(io.BytesIO(data), file, len(data))
        except OSError as error:
            assert (error.errno, missing > 0) == (errno.ENOSPC, True)
        else:
            assert missing == 0
            assert (disk / "file").read_bytes() == data

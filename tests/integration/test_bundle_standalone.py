"""The interpreter in a real build: fetched from a mirror as the profile asks, from a file, or not at all."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import archives
import pytest
import small_checkout
import tiny_model
from archives import STUB, Member
from local_hub import LocalHub
from local_hub import serving as serving_hub
from local_mirror import LocalMirror, serving
from test_bundle_build import NAME, Builder, copy_checkout, read

from bundle import pins
from bundle.pins import Pin

DATA = archives.archive(*STUB)
PIN = Pin("3.11", "x86_64", "3.11.9", "20250101", hashlib.sha256(DATA).hexdigest())
MEMBER = f"payload/python/{PIN.name}"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    """A checkout whose one pin is an archive of a few bytes."""
    folder = tmp_path_factory.mktemp("standalone")
    small_checkout.share_wheels(folder / "cache")
    checkout = copy_checkout(ROOT, folder / "checkout")
    (checkout / "bundle" / "interpreters.txt").write_text(pins.render([PIN]))
    with serving_hub(LocalHub(tiny_model.make(tmp_path_factory.mktemp("published")))) as hub:
        yield Builder(hub, folder, checkout)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[LocalMirror]:
    place = tmp_path / PIN.build / PIN.name
    place.parent.mkdir()
    place.write_bytes(DATA)
    with serving(LocalMirror(tmp_path)) as made:
        yield made


def test_a_standalone_interpreter_is_fetched_from_the_mirror_and_carried(builder: Builder, mirror: LocalMirror) -> None:
    done = builder.build("out", "--python", "standalone", **{pins.MIRROR: mirror.address})
    assert done.returncode == 0, done.stderr
    assert [path for path, _ in mirror.asked] == [f"/{PIN.build}/{PIN.name.replace('+', '%2B')}"]
    out = builder.folder / "out"
    with tarfile.open(out / f"{NAME}.tar") as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert names[names.index("install.pyz") + 1] == MEMBER and names.count(MEMBER) == 1
    assert read(out, MEMBER) == DATA
    assert read(out, "licenses/python/lib/python3.11/LICENSE.txt") == archives.LICENCE
    manifest = json.loads(read(out, "manifest.json"))
    assert manifest["python"] == {"source": "standalone", "version": "3.11.9"}
    command = [sys.executable, "-m", "bundle", "verify", "--insecure-unsigned", str(out / f"{NAME}.tar")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def test_a_mirror_that_is_away_is_named_and_nothing_is_left(builder: Builder, tmp_path: Path) -> None:
    away = replace(builder, folder=tmp_path)
    small_checkout.share_wheels(tmp_path / "cache")
    done = away.build("out", "--python", "standalone", **{pins.MIRROR: "http://127.0.0.1:9/pbs"})
    assert done.returncode == 1 and "http://127.0.0.1:9/pbs/20250101/cpython-3.11.9" in done.stderr
    assert pins.MIRROR in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ((*STUB, Member("python/x", kind=b"2", target="/etc/passwd")), "leads outside"),
        (archives.with_(Member("python/bin/python3.11", archives.elf(183), mode=0o755)), "is for aarch64"),
    ],
    ids=["hostile", "for another machine"],
)
def test_a_file_that_may_not_be_carried_is_refused_by_name(
    builder: Builder, tmp_path: Path, members: tuple[Member, ...], named: str
) -> None:
    path = tmp_path / "cpython-own.tar.gz"
    path.write_bytes(archives.archive(*members))
    done = builder.build("refused", "--python", str(path))
    assert done.returncode == 3, done.stderr
    assert "cpython-own.tar.gz: " in done.stderr and named in done.stderr
    assert not (builder.folder / "refused").exists()


def test_the_plan_names_the_pinned_archive_offline(builder: Builder) -> None:
    words = ["plan", "--profile", "demo", "--python", "standalone", "--json"]
    environment = builder.environment(**{pins.MIRROR: "http://127.0.0.1:9"})
    done = subprocess.run(
        [sys.executable, "-m", "bundle", *words],
        cwd=builder.checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["python"]
    assert found["file"] == PIN.name and found["sha256"] == PIN.sha256 and found["version"] == "3.11.9"
    assert found["from"].endswith(f"/{PIN.build}/{PIN.name.replace('+', '%2B')}")

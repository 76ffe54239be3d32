"""Packing: the same inputs give the same bytes, and what fails leaves nothing under a final name."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import stub_wheels

from bundle import artifacts, inspection, installer_zip, pack, wheel_info
from bundle.artifacts import Artifact, of_bytes
from bundle.progress import Progress
from bundle.signing import Signing
from checksums.errors import FerryError, IntegrityError, UsageError
from checksums.layout import INSTALLER
from checksums.manifest import Manifest, Model, Python, Requires, Target
from installer.verify import Trust

QUIET = Progress(quiet=True)
UNSIGNED = Trust(None, insecure_unsigned=True)


@pytest.fixture
def carried(tmp_path: Path) -> list[Artifact]:
    large = tmp_path / "model.safetensors"
    large.write_bytes(b"weights" * 100_000)
    digest = hashlib.sha256(large.read_bytes()).hexdigest()
    return [
        Artifact("payload/model/model.safetensors", large, large.stat().st_size, digest),
        of_bytes("payload/app/run.sh", b"#!/bin/sh\n", "0755"),
        of_bytes(INSTALLER, b"zip"),
    ]


def describe(carried: list[Artifact]) -> Manifest:
    return Manifest(
        format=1,
        name="ferry-test-1-x86_64",
        profile="test",
        version="1",
        sequence=1,
        created="1980-01-01T00:00:00Z",
        target=Target("3.11", "x86_64", "2.28"),
        python=Python("host", ""),
        model=Model("modelscope", "Owner/Name", "master", "1" * 40, "MIT", "float32", 1),
        wheels=(),
        files=tuple(artifact.entry for artifact in carried),
        requires=Requires(1, 1),
    )


@pytest.fixture
def write(tmp_path: Path, carried: list[Artifact]) -> Callable[..., pack.Written]:
    script = tmp_path / "install.sh"
    script.write_text("#!/bin/sh\n")

    def write(out: str, keys: tuple[Path, ...] = (), part_bytes: int | None = None) -> pack.Written:
        return pack.write(describe(carried), carried, script, Signing(keys), tmp_path / out, QUIET, part_bytes)

    return write


def test_what_is_written_verifies(write: Callable[..., pack.Written]) -> None:
    bundle = inspection.verify(write("out").tarball, UNSIGNED, QUIET)
    assert bundle.manifest.name == "ferry-test-1-x86_64"


def test_the_same_inputs_give_the_same_bytes_whatever_the_umask(write: Callable[..., pack.Written]) -> None:
    first = write("one").tarball.read_bytes()
    old = os.umask(0o077)
    try:
        second = write("two").tarball
    finally:
        os.umask(old)
    assert second.read_bytes() == first
    assert second.stat().st_mode & 0o777 == 0o644


def test_a_file_that_changed_since_its_digest_was_taken_is_named_and_nothing_is_left(
    write: Callable[..., pack.Written], carried: list[Artifact], tmp_path: Path
) -> None:
    large = carried[0].source
    assert isinstance(large, Path)
    large.write_bytes(large.read_bytes().replace(b"weights", b"Weights", 1))
    with pytest.raises(IntegrityError, match=r"payload/model/model\.safetensors: sha256 is"):
        write("out")
    assert list((tmp_path / "out").iterdir()) == []
    assert not large.exists(), "the damaged copy makes way for a fresh one"


def test_an_interruption_leaves_nothing(
    write: Callable[..., pack.Written], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pack, "_add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write("out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_key_that_is_not_there_is_found_before_anything_is_written(
    write: Callable[..., pack.Written], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no such signing key"):
        write("out", (tmp_path / "nokey",))
    assert not (tmp_path / "out").exists()


def test_an_unsigned_bundle_takes_away_what_an_older_signed_one_left(
    write: Callable[..., pack.Written], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    for name in ("install.sh.sig", "install.sh.2.sig", "allowed_signers"):
        (tmp_path / "out" / name).write_text("of another bundle")
    write("out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"install.sh", "ferry-test-1-x86_64.tar"}


def test_a_bundle_that_is_written_in_parts_is_the_same_bundle(write: Callable[..., pack.Written]) -> None:
    whole = write("whole").tarball.read_bytes()
    written = write("parts", (), 50_000)
    *parts, listed = written.bundle
    assert b"".join(part.read_bytes() for part in parts) == whole and len(parts) == -(-len(whole) // 50_000)
    assert listed.name == "ferry-test-1-x86_64.tar.parts.json"
    assert {path.name for path in listed.parent.iterdir()} == {path.name for path in [*written.bundle, *written.others]}
    assert inspection.verify(parts[3], UNSIGNED, QUIET).manifest.version == "1"


def test_whole_or_in_parts_a_bundle_takes_the_place_of_the_one_before(
    write: Callable[..., pack.Written], tmp_path: Path
) -> None:
    for part_bytes in (None, 50_000, 100_000, None):
        written = write("out", (), part_bytes)
        assert set((tmp_path / "out").iterdir()) == {*written.bundle, *written.others}


def test_a_disk_without_room_is_told_before_anything_is_written(
    write: Callable[..., pack.Written], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))  # type: ignore[attr-defined]
    with pytest.raises(FerryError, match="out: 0 MB are free"):
        write("out")
    assert list((tmp_path / "out").iterdir()) == []


def test_too_many_parts_are_refused_before_anything_is_written(
    write: Callable[..., pack.Written], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="more than 999 parts") as raised:
        write("out", (), 700)
    assert "--size" in raised.value.hint and not (tmp_path / "out").exists()
    written = write("out", (), int(raised.value.hint.rpartition(" ")[2]))
    assert len(written.bundle) <= 1000


def test_a_folder_that_cannot_be_written_is_a_usage_error(write: Callable[..., pack.Written], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UsageError, match="out"):
        write("out")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for path, text in {
        "installer/__init__.py": "",
        "installer/cli.py": "def main():\n    print('installing')\n",
        "installer/install.sh": "#!/bin/sh\n",
        "checksums/__init__.py": "",
        "service/engine.py": "x = 1\n",
        "service/start.sh": "#!/bin/sh\n",
        "service/__pycache__/engine.pyc": "bytecode",
        "service/.hidden": "",
        "systemd/ferry.service": "[Unit]\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def test_the_app_is_carried_without_bytecode_and_hidden_files(checkout: Path) -> None:
    modes = {artifact.path: artifact.mode for artifact in artifacts.app(checkout)}
    assert modes == {
        "payload/app/service/engine.py": "0644",
        "payload/app/service/start.sh": "0755",
        "payload/app/systemd/ferry.service": "0644",
    }


def test_a_link_in_the_app_is_refused(checkout: Path) -> None:
    (checkout / "service" / "secret").symlink_to("/etc/passwd")
    with pytest.raises(IntegrityError, match="symbolic link"):
        artifacts.app(checkout)


def test_the_installer_is_one_zip_with_its_libraries_and_always_the_same(checkout: Path, tmp_path: Path) -> None:
    wheels = [stub_wheels.make(tmp_path / "wheels", name) for name in ("click", "tqdm")]
    data = installer_zip.make(checkout, wheels)
    assert installer_zip.make(checkout, reversed(wheels)) == data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    assert names == sorted(names)
    assert {"__main__.py", "installer/cli.py", "checksums/__init__.py", "click/__init__.py"} <= set(names)
    assert "installer/install.sh" not in names


def test_a_wheel_tells_its_licence_and_the_text_of_it(tmp_path: Path) -> None:
    info = wheel_info.read(stub_wheels.make(tmp_path, "some-thing"))
    assert info.license == "MIT"
    assert info.license_texts == {"LICENSE": b"The licence of some-thing.\n"}


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License-Expression: Apache-2.0\nLicense: other", "Apache-2.0"),
        ("License: BSD", "BSD"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
        ("License: The text\n of a licence\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
        ("Name: x", "unknown"),
    ],
)
def test_a_licence_is_found_in_old_and_new_metadata(metadata: str, licence: str) -> None:
    assert wheel_info.licence_of(f"Metadata-Version: 2.1\n{metadata}\n") == licence


def test_what_is_no_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a-1-py3-none-any.whl").write_bytes(b"not a zip")
    with pytest.raises(IntegrityError, match="not a wheel"):
        wheel_info.read(tmp_path / "a-1-py3-none-any.whl")

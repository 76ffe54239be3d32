"""A folder of weights on this host: what is taken from it, what is left out, and what it is called."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
import tiny_model

from bundle import folder_model
from bundle.hub import Listing
from bundle.profiles import FolderModel
from checksums.errors import IntegrityError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    place.mkdir()
    return tiny_model.write_large(place, [100, 60])


def listing(folder: Path) -> Listing:
    return folder_model.listing(FolderModel(path=folder, id="Owner/Name", license="none", commercial_use=True))


def names(folder: Path) -> set[str]:
    return {file.path for file in listing(folder).files}


def test_every_file_is_listed_with_its_size_and_digest(folder: Path) -> None:
    (folder / "assets").mkdir()
    (folder / "assets" / "figure.txt").write_text("a figure\n")
    for file in listing(folder).files:
        data = (folder / file.path).read_bytes()
        assert (file.size_bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert "assets/figure.txt" in names(folder)


def test_the_commit_is_what_sha256sum_gives_by_hand(folder: Path) -> None:
    script = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    done = subprocess.run(["sh", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert listing(folder).commit == f"sha256:{done.stdout.split()[0]}"


def test_one_changed_byte_is_another_commit(folder: Path) -> None:
    before = listing(folder).commit
    (folder / "LICENSE").write_text("Something else.\n")
    assert listing(folder).commit != before


def test_what_the_sdk_and_git_keep_beside_a_model_is_left_out(folder: Path) -> None:
    before = listing(folder)
    for name in (".mv", ".msc", ".mdl", ".gitattributes", "x.lock", ".lock/y.lock", "._____temp/a", ".git/config"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\x80\x04.")
    assert (listing(folder).files, listing(folder).commit) == (before.files, before.commit)


def test_a_link_within_the_folder_is_taken_for_what_it_points_to(folder: Path) -> None:
    (folder / ".blobs").mkdir()
    (folder / "LICENSE").rename(folder / ".blobs" / "0123")
    (folder / "LICENSE").symlink_to(".blobs/0123")
    assert "LICENSE" in names(folder)
    assert listing(folder).commit == listing(folder.parent / "model").commit


def test_everything_that_cannot_be_carried_is_named_at_once(folder: Path) -> None:
    (folder / "x").symlink_to("/etc/hostname")
    (folder / "model.safetensors.incomplete").touch()
    (folder / "a\nb").touch()
    with pytest.raises(IntegrityError) as caught:
        listing(folder)
    assert len(caught.value.message.splitlines()) == 3


@pytest.mark.parametrize(
    ("record", "revision"),
    [
        ("Revision:master,CreatedAt:1706672042", "master"),
        ("Revision:v1.0.1", "v1.0.1"),
        ("Revision:../../etc,CreatedAt:1", "folder"),
        ("nothing of the kind", "folder"),
        ("", "folder"),
    ],
)
def test_the_revision_is_the_one_that_the_old_sdk_noted(folder: Path, record: str, revision: str) -> None:
    (folder / ".mv").write_text(record)
    assert listing(folder).revision == revision


def test_the_revision_is_the_one_that_the_new_sdk_names_its_folder_for(folder: Path) -> None:
    place = folder.parent / "models" / "Owner--Name" / "snapshots" / "v1.0"
    place.parent.mkdir(parents=True)
    folder.rename(place)
    assert listing(place).revision == "v1.0"


def test_no_path_of_this_host_is_in_what_is_listed(folder: Path) -> None:
    found = listing(folder)
    assert str(folder.parent) not in repr(found)
    assert found.revision == "folder"


@pytest.mark.parametrize("name", ["nowhere", "model/LICENSE"])
def test_what_is_no_folder_is_a_fault_in_the_profile(folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        listing(folder.parent / name)


def test_nothing_in_the_folder_is_changed(folder: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in folder.rglob("*")}
    listing(folder)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in folder.rglob("*")} == before

"""The list of what a folder has to hold, and the comparison that names every change of it once."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from checksums.errors import IntegrityError
from installer import trees
from installer.trees import Owner


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    (top / "lib" / "deep").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "lib" / "deep" / "module.py").write_bytes(b"1\n")
    (top / "lib-x").write_bytes(b"sorts between a folder and what is in it")
    (top / "program").write_bytes(os.urandom(3 << 20))
    (top / "program").chmod(0o755)
    (top / "twin").hardlink_to(top / "lib-x")
    (top / "link").symlink_to("lib/deep")
    trees.write(top, trees.record(top))
    return top


def changes(folder: Path) -> list[tuple[str, str]]:
    wanted = trees.read(folder)
    differences, unread = trees.look(folder, wanted)
    digests = trees.sha256_files([folder / path for path in unread])
    changed = [path for path, digest in zip(unread, digests, strict=True) if digest != wanted[path].content]
    return [*((one.path, one.problem) for one in differences), *((path, "content") for path in changed)]


def test_a_folder_is_what_its_own_list_says(folder: Path) -> None:
    entries = trees.read(folder)
    assert sorted(entries) == [
        ".", "empty", "lib", "lib-x", "lib/deep", "lib/deep/module.py", "link", "program", "twin",
    ]  # fmt: skip
    assert entries["link"].content == "lib/deep" and entries["program"].mode == 0o755
    assert trees.is_whole(folder) and changes(folder) == []


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def replace_by_file(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"")


CHANGES: dict[str, tuple[Callable[[Path], object], list[tuple[str, str]]]] = {
    "a flipped bit": (lambda top: flip(top / "program"), [("program", "content")]),
    "one byte more": (
        lambda top: (top / "lib/deep/module.py").write_bytes(b"1\n\n"),
        [("lib/deep/module.py", "3 bytes instead of 2")],
    ),
    "a file's mode": (lambda top: (top / "program").chmod(0o757), [("program", "mode 0757 instead of 0755")]),
    "a program that runs as its owner": (
        lambda top: (top / "program").chmod(0o4755),
        [("program", "mode 4755 instead of 0755")],
    ),
    "a folder's mode": (lambda top: (top / "lib").chmod(0o777), [("lib", "mode 0777 instead of 0755")]),
    "the mode of the folder itself": (lambda top: top.chmod(0o700), [(".", "mode 0700 instead of 0755")]),
    "a file more": (lambda top: (top / "lib/more.pth").touch(), [("lib/more.pth", trees.EXTRA)]),
    "a folder more": (lambda top: (top / "more/and/more").mkdir(parents=True), [("more", trees.EXTRA)]),
    "a link more": (lambda top: (top / "lib/a").symlink_to("/"), [("lib/a", trees.EXTRA)]),
    "a file gone": (lambda top: (top / "lib/deep/module.py").unlink(), [("lib/deep/module.py", trees.MISSING)]),
    "a folder gone": (lambda top: shutil.rmtree(top / "lib"), [("lib", trees.MISSING)]),
    "an empty folder gone": (lambda top: (top / "empty").rmdir(), [("empty", trees.MISSING)]),
    "a link elsewhere": (
        lambda top: ((top / "link").unlink(), (top / "link").symlink_to("lib")),
        [("link", "leads to lib instead of lib/deep")],
    ),
    "a file for a link": (lambda top: replace_by_file(top / "link"), [("link", "a file, not a link")]),
    "a link for a folder": (
        lambda top: replace_by_link(top / "lib"),
        [("lib", "a link, not a folder"), ("moved", trees.EXTRA)],
    ),
    "a folder for a file": (
        lambda top: ((top / "lib-x").unlink(), (top / "lib-x" / "lib").mkdir(parents=True)),
        [("lib-x", "a folder, not a file")],
    ),
}


@pytest.mark.parametrize(("change", "named"), CHANGES.values(), ids=CHANGES)
def test_every_change_is_named_once(
    folder: Path, change: Callable[[Path], object], named: list[tuple[str, str]]
) -> None:
    change(folder)
    assert changes(folder) == named
    assert not trees.is_whole(folder)


def test_a_socket_is_no_file(folder: Path) -> None:
    (folder / "empty").rmdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "empty"))
    assert changes(folder) == [("empty", "a device, pipe or socket, not a folder")]


def test_a_stranger_owns_what_is_not_the_owners(folder: Path) -> None:
    entries = trees.read(folder)
    me = Owner(os.geteuid(), os.getegid())
    assert trees.look(folder, entries, me)[0] == []
    named = trees.look(folder, entries, Owner(me.user + 1))[0]
    assert len(named) == len(entries) and f"belongs to user {me.user}" in named[0].problem
    assert not any(one.is_content for one in named)


def test_an_open_folder_may_hold_more(folder: Path) -> None:
    entries = trees.read(folder)
    (folder / "more").touch()
    assert trees.look(folder, entries, is_closed=False)[0] == []
    (folder / "link").unlink()
    assert [one.path for one in trees.look(folder, entries, is_closed=False)[0]] == ["link"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.replace(b"program", b"Program"),
        lambda data: data[:-1],
        lambda data: data + b"\n",
        lambda data: data[1:],
        lambda data: b"",
        lambda data: b"ferry-tree 2 " + data[13:],
    ],
)
def test_a_damaged_list_is_refused(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    path = folder / trees.LIST
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(IntegrityError, match="its own digest"):
        trees.read(folder)
    assert not trees.is_whole(folder)


def test_a_folder_without_a_list_says_so(folder: Path) -> None:
    (folder / trees.LIST).unlink()
    with pytest.raises(IntegrityError, match="no list"):
        trees.read(folder)
    (folder / trees.LIST).symlink_to("lib-x")
    with pytest.raises(IntegrityError, match="not a plain file"):
        trees.read(folder)


def test_names_that_are_no_text_survive(tmp_path: Path) -> None:
    for name in (b"tab\there", b"line\nbreak", b"\xff\xfe", "中文".encode()):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    entries = trees.record(tmp_path)
    assert len(entries) == 5 and trees.parse(trees.render(entries)) == entries


def test_what_cannot_be_read_is_told_and_not_believed(folder: Path) -> None:
    (found,) = trees.sha256_files([folder / "gone"])
    assert isinstance(found, FileNotFoundError)
    (found,) = trees.sha256_files([folder / "link"])
    assert isinstance(found, OSError), "no link is followed"

"""A change of an installation, and its journal: taken back whatever ends it, finished where it was to stay."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from checksums.errors import FerryError
from installer import files, journal, lock, release, transaction, undo
from installer.files import Changes
from installer.journal import Journal
from installer.places import Places
from installer.progress import Lines


class Interrupted(Exception):
    """What a test raises in the middle of a change."""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "prefix", is_user=True)


@pytest.fixture
def before(places: Places) -> dict[str, str]:
    """Return an installation's files, before anything changes them."""
    places.prefix.mkdir()
    (places.prefix / "kept").write_text("before")
    (places.prefix / "kept").chmod(0o640)
    (places.prefix / "link").symlink_to("old")
    (places.prefix / "folder").mkdir()
    (places.prefix / "folder" / "inside").write_text("before")
    (places.prefix / "gone").write_text("before")
    return seen(places)


def seen(places: Places) -> dict[str, str]:
    def of(path: Path) -> str:
        if path.is_symlink():
            return str(path.readlink())
        return f"{path.stat().st_mode:o} {path.read_text() if path.is_file() else ''}"

    return {str(path.relative_to(places.prefix)): of(path) for path in sorted(places.prefix.rglob("*"))}


def change_everything(changes: Changes, places: Places) -> None:
    changes.file(places.prefix / "kept", b"after", 0o644)
    changes.file(places.prefix / "kept", b"once more", 0o644)
    changes.file(places.prefix / "new" / "deep" / "file", b"x")
    changes.link(places.prefix / "link", "new")
    changes.will_make(places.prefix / "made")
    (places.prefix / "made").mkdir()
    changes.remove(places.prefix / "gone")
    for number in (1, 2):
        staged = places.prefix / f"staged-{number}"
        changes.will_make(staged)
        staged.mkdir()
        (staged / "inside").write_text(f"after {number}")
        changes.replace(staged, places.prefix / "folder")


AFTER = {
    "folder": "40755 ",
    "folder/inside": "100644 after 2",
    "kept": "100644 once more",
    "link": "new",
    "made": "40755 ",
    "new": "40755 ",
    "new/deep": "40755 ",
    "new/deep/file": "100644 x",
}


def test_a_change_that_ends_well_stays_and_leaves_nothing_beside_it(places: Places, before: dict[str, str]) -> None:
    with transaction.begin(places, "test", Lines()) as changes:
        change_everything(changes, places)
        assert transaction.is_pending(places)
    assert seen(places) == AFTER


def test_a_change_that_fails_is_taken_back(places: Places, before: dict[str, str]) -> None:
    with pytest.raises(Interrupted), transaction.begin(places, "test", Lines()) as changes:
        change_everything(changes, places)
        raise Interrupted
    assert seen(places) == before


def killed(work: Callable[[], None]) -> None:
    """Do something in a child that ends as by SIGKILL."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_kill_broke_off_is_taken_back_by_the_next_change(places: Places, before: dict[str, str]) -> None:
    def work() -> None:
        with transaction.begin(places, "test", Lines()) as changes:
            change_everything(changes, places)
            kill_self()

    killed(work)
    assert seen(places) != before and transaction.is_pending(places)
    with transaction.begin(places, "another", Lines()):
        assert {name for name in seen(places) if name != "journal"} == set(before)
    assert seen(places) == before


def test_what_a_kill_broke_off_after_the_commit_is_finished(
    places: Places, before: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        monkeypatch.setitem(undo.STEPS, "remove", lambda *_: kill_self())  # type: ignore[misc]
        with transaction.begin(places, "test", Lines()) as changes:
            change_everything(changes, places)

    killed(work)
    assert transaction.is_pending(places)
    found = transaction.recover(places, Lines())
    assert found and found.is_committed and found.command == "test"
    assert seen(places) == AFTER


def test_recovering_may_be_killed_anywhere_and_done_again(
    places: Places, before: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_off() -> None:
        with transaction.begin(places, "test", Lines()) as changes:
            change_everything(changes, places)
            kill_self()

    killed(broken_off)
    for name, step in list(undo.STEPS.items()):
        monkeypatch.setitem(undo.STEPS, name, dying_at_the_second(step))  # type: ignore[misc]
    found = journal.read(places)
    assert found is not None
    for _ in found.undo[1:]:
        killed(lambda: transaction.recover(places, Lines()))
    transaction.recover(places, Lines())
    assert seen(places) == before


def dying_at_the_second(step: Callable[..., object], done: list[int] = []) -> Callable[..., object]:  # noqa: B006
    """Let a step be done, and end the process by SIGKILL if it is not this process' first: nobody wrote it down."""

    def counted(*arguments: object) -> object:
        step(*arguments)
        done.append(os.getpid())
        return kill_self() if done.count(os.getpid()) > 1 else None

    return counted


def test_a_line_that_was_being_written_when_the_power_went_is_left_out(places: Places, before: dict[str, str]) -> None:
    record = Journal.begin(places, "test")
    record.undo("remove", str(places.prefix / "new"))
    record.close()
    with journal.path_of(places).open("ab") as file:
        file.write(b'{"undo": "remove", "argum')
    (places.prefix / "new").write_text("x")
    transaction.recover(places, Lines())
    assert seen(places) == before


def test_a_prefix_that_was_made_for_the_change_goes_with_it(tmp_path: Path) -> None:
    places = Places(tmp_path / "a" / "b", is_user=True)
    with pytest.raises(Interrupted), transaction.begin(places, "test", Lines()) as changes:
        changes.file(places.prefix / "file", b"x")
        raise Interrupted
    assert list(tmp_path.iterdir()) == []


def test_what_a_broken_off_change_put_into_the_store_goes_with_it(places: Places) -> None:
    with pytest.raises(Interrupted), transaction.begin(places, "test", Lines()) as changes:
        changes.undo("prune", [])
        # As publishing does, interrupted between the store and the release's place, which share their files.
        staged, stored = release.stage(places) / "wheel", places.stored("ab" * 32)
        stored.parent.mkdir(parents=True)
        staged.write_text("x")
        os.link(staged, stored)
        raise Interrupted
    assert not places.prefix.exists()


def test_an_error_of_the_system_that_names_nothing_gets_the_name_of_the_installation(places: Places) -> None:
    with pytest.raises(OSError, match="No space left") as found, transaction.begin(places, "test", Lines()):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert found.value.filename == str(places.prefix)
    with pytest.raises(OSError, match="No space left") as found, transaction.begin(places, "test", Lines()):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a name of its own")
    assert found.value.filename == "a name of its own"


def test_a_step_that_cannot_be_taken_back_is_named_and_stays_written_down(
    places: Places, before: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no such luck")

    with monkeypatch.context() as broken:
        broken.setitem(undo.STEPS, "point", fail)  # type: ignore[misc]
        with (
            pytest.raises(FerryError, match=r"the first reason(.|\n)*point .*/link: no such luck"),
            transaction.begin(places, "test", Lines()) as changes,
        ):
            change_everything(changes, places)
            raise FerryError("the first reason")
    assert transaction.is_pending(places) and (places.prefix / "kept").read_text() == "before"
    transaction.recover(places, Lines())
    assert seen(places) == before


def test_a_journal_of_a_newer_ferry_is_left_alone(places: Places, before: dict[str, str]) -> None:
    journal.path_of(places).write_text('{"format": 2}\n')
    with pytest.raises(FerryError, match="format 2"):
        transaction.recover(places, Lines())
    assert transaction.is_pending(places)


def test_a_journal_without_room_makes_no_change(
    places: Places, before: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FerryError, match="the disk is full"), transaction.begin(places, "test", Lines()) as changes:
        monkeypatch.setattr(os, "write", lambda _, data: len(data) // 2)
        changes.file(places.prefix / "kept", b"after")
    monkeypatch.undo()
    assert seen(places) == before


def test_a_second_change_says_who_is_at_work(places: Places, before: dict[str, str]) -> None:
    with (
        transaction.begin(places, "first", Lines()),
        pytest.raises(lock.Busy, match=f"process {os.getpid()} is changing it"),
        transaction.begin(places, "second", Lines()),
    ):
        pass
    assert seen(places) == before


def test_a_file_is_written_with_owner_and_mode(tmp_path: Path) -> None:
    files.write(tmp_path / "file", b"x", 0o640, (os.getuid(), os.getgid()))
    made = (tmp_path / "file").stat()
    assert (made.st_mode & 0o777, made.st_uid) == (0o640, os.getuid())

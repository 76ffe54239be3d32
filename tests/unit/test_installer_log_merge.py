"""A restore merges two audit logs that are chains over files, and loses no line of either."""

from pathlib import Path

import pytest
from audit_logs import event

from installer import log_merge
from installer.files import Changes
from installer.journal import Journal
from installer.log_merge import Merged
from installer.places import Places
from service.web import audit_verify
from service.web.audit_log import Log


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(tmp_path, is_user=True)
    for folder in (places.log, places.data):
        folder.mkdir(parents=True)
    return places


def log_of(places: Places) -> Log:
    return Log(places.log, places.data, rotate_bytes=600)


def written(log: Log, *numbers: int) -> Log:
    for number in numbers:
        log.append([event(number)])
    return log


def backup_of(log: Log) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in log.log.iterdir() if path.is_file()}


def restore(places: Places, files: dict[str, bytes]) -> Merged:
    near = places.log / ".restore-1"
    near.mkdir()
    for name, data in files.items():
        (near / name).write_bytes(data)
    return log_merge.merge(near, places.log, "2025-01-01T00:00:00Z", Changes(Journal.begin(places, "restore")))


def problems(log: Log) -> list[str]:
    return [each.problem for each in audit_verify.verify(log.log, log.data, jobs=1).problems]


def test_this_server_s_log_that_goes_on_with_the_backup_s_stays_over_all_its_files(places: Places) -> None:
    log = written(log_of(places), 1, 2, 3)
    files = backup_of(log)
    written(log, *range(4, 12))
    assert restore(places, files) == Merged((), is_other=False)
    assert log.adopt(event(99)) is False
    assert problems(log) == []


def test_a_backup_s_log_that_goes_on_with_this_server_s_takes_its_place(places: Places) -> None:
    log = written(log_of(places), 1, 2, 3)
    early = backup_of(log)
    late = backup_of(written(log, *range(4, 12)))
    for path in places.log.iterdir():
        path.unlink()
    for name, data in early.items():
        (places.log / name).write_bytes(data)
    assert restore(places, late) == Merged((), is_other=True)
    (places.data / "audit.anchor").unlink()
    assert log.adopt(event(99)) is True
    assert problems(log) == []
    assert set(backup_of(log)) >= set(late)


def test_two_logs_that_differ_are_both_kept_and_the_backup_s_goes_on(places: Places, tmp_path: Path) -> None:
    other = Places(tmp_path / "other", is_user=True)
    for folder in (other.log, other.data):
        folder.mkdir(parents=True)
    files = backup_of(written(log_of(other), *range(20, 28)))
    log = written(log_of(places), *range(8))
    here = backup_of(log)
    merged = restore(places, files)
    assert (merged.is_other, len(merged.notes)) == (True, 1)
    kept = {path.name.partition(".before-restore-")[0]: path for path in places.log.glob("*.before-restore-*")}
    assert {name: path.read_bytes() for name, path in kept.items()} == here
    (places.data / "audit.anchor").unlink()
    assert log.adopt(event(99)) is True
    assert problems(log) == []


def test_a_backup_without_a_log_takes_nothing_away(places: Places) -> None:
    log = written(log_of(places), 1, 2, 3)
    assert restore(places, {}) == Merged((), is_other=False)
    assert problems(log) == []

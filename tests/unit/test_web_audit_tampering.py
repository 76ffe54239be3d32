"""Whatever is changed in an audit log is found by the check, and named."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from audit_logs import event, make_folders, verified
from hypothesis import given, settings
from hypothesis import strategies as st

from service.web import audit_files, audit_pieces, audit_verify
from service.web.audit_log import Log
from service.web.audit_verify import Report


@pytest.fixture(scope="module")
def sample() -> Iterator[Log]:
    """Fourteen lines in several files."""
    with tempfile.TemporaryDirectory() as folder:
        log = Log(*make_folders(Path(folder)), rotate_bytes=700)
        for number in range(11):
            log.append([event(number)])
        yield log


@pytest.fixture(scope="module", autouse=True)
def small_pieces() -> Iterator[None]:
    """Cut files into pieces of some lines, so that all that joins pieces is at work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_pieces, "PIECE_BYTES", 400)
        yield


def texts(log: Log) -> list[tuple[str, list[bytes]]]:
    with audit_files.snapshot(log.log, log.data) as taken:
        found = [(file.name, audit_files.read(file, 0, file.size)) for file in taken.files]
    return [(name, data.splitlines(keepends=True)) for name, data in found]


def changed(sample: Log, files: list[tuple[str, list[bytes]]]) -> Report:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files:
            (Path(folder) / name).write_bytes(b"".join(content))
        return audit_verify.verify(Path(folder), sample.data, jobs=1)


def places(files: list[tuple[str, list[bytes]]]) -> list[tuple[int, int]]:
    return [(number, line) for number, (_, content) in enumerate(files) for line in range(len(content))]


def test_the_sample_itself_verifies(sample: Log) -> None:
    files = texts(sample)
    assert len(files) > 3
    assert changed(sample, files).is_ok


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_found(sample: Log, data: st.DataObject) -> None:
    files = texts(sample)
    file, line = data.draw(st.sampled_from(places(files)))
    text = bytearray(files[file][1][line])
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] ^= data.draw(st.integers(1, 255))
    files[file][1][line] = bytes(text)
    assert not changed(sample, files).is_ok


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_removed_line_is_found(sample: Log, data: st.DataObject) -> None:
    files = texts(sample)
    file, line = data.draw(st.sampled_from(places(files)))
    del files[file][1][line]
    assert not changed(sample, files).is_ok


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_swapped_pair_is_found(sample: Log, data: st.DataObject) -> None:
    files = texts(sample)
    first, second = data.draw(st.lists(st.sampled_from(places(files)), min_size=2, max_size=2, unique=True))
    one, other = files[first[0]][1], files[second[0]][1]
    one[first[1]], other[second[1]] = other[second[1]], one[first[1]]
    assert not changed(sample, files).is_ok


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_inserted_line_is_found(sample: Log, data: st.DataObject) -> None:
    files = texts(sample)
    taken, target = (data.draw(st.sampled_from(places(files))) for _ in range(2))
    line = files[taken[0]][1][taken[1]]
    files[target[0]][1].insert(target[1] + data.draw(st.integers(0, 1)), line)
    assert not changed(sample, files).is_ok


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_cut_tail_is_found(sample: Log, data: st.DataObject) -> None:
    files = texts(sample)
    whole = sum(len(line) for _, content in files for line in content)
    keep = data.draw(st.integers(0, whole - 1))
    cut = []
    for name, content in files:
        text = b"".join(content)[:keep]
        keep -= len(text)
        if text:
            cut.append((name, [text]))
    assert not changed(sample, cut).is_ok


def test_a_removed_file_is_found_whichever_it_is(sample: Log) -> None:
    files = texts(sample)
    for number in range(len(files)):
        assert not changed(sample, files[:number] + files[number + 1 :]).is_ok, files[number][0]


def test_several_processes_find_the_same_as_one(sample: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_verify, "ALONE_BYTES", 0)
    assert audit_verify.verify(sample.log, sample.data, jobs=2) == verified(sample)


def test_a_problem_is_named_by_file_and_line(sample: Log) -> None:
    files = texts(sample)
    files[1][1][2] = files[1][1][2].replace(b"alice", b"mallo")
    report = changed(sample, files)
    (problem,) = report.problems
    last = len(files[1][1]) == 3
    assert (problem.file, problem.line) == ((files[2][0], 1) if last else (files[1][0], 4))
    assert "changed" in problem.problem

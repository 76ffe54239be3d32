"""A file on its way: whatever ends a run, every byte that reached the disk counts, and the whole comes out right."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle import partial
from bundle.partial import Partial, Piece

DATA = random.Random(0).randbytes(1000)


def fetch(whole: Partial, piece: Piece, size: int) -> None:
    whole.append(piece, DATA[piece.position : piece.position + size])


@settings(deadline=None)
@given(
    size=st.integers(0, 500),
    head=st.integers(0, 500),
    found=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=6),
    step=st.integers(1, 200),
)
def test_spans_cover_a_file_once_and_in_order(size: int, head: int, found: list[tuple[int, int]], step: int) -> None:
    spans = partial.spans(size, min(head, size), found, step)
    assert (spans[0][0], spans[-1][1]) == (0, size)
    assert spans[0][1] >= min(head, size)
    assert all(first[1] == second[0] for first, second in pairwise(spans))
    assert all(start < stop for start, stop in spans[1:])


@pytest.mark.parametrize("seed", range(20))
def test_kills_and_other_divisions_lose_nothing(tmp_path: Path, seed: int) -> None:
    """Runs that fetch some bytes of some pieces and stop, also in the middle of joining, each divided differently."""
    chosen = random.Random(seed)
    held = 0
    for _ in range(1000):
        whole = Partial(tmp_path, "x", 1000, chosen.choice([7, 64, 100, 300, 2000]))
        assert whole.held_bytes >= held
        for _ in range(chosen.randrange(8)):
            waiting = [piece for piece in whole.pieces if not piece.is_complete]
            if waiting:
                fetch(whole, chosen.choice(waiting), chosen.randrange(1, 200))
            if chosen.random() < 0.7 and whole.join():
                assert (tmp_path / "x.part").read_bytes() == DATA
                assert [path.name for path in tmp_path.iterdir()] == ["x.part"]
                return
        held = whole.held_bytes
        if len(whole.pieces) > 1 and all(piece.is_complete for piece in whole.pieces[:2]):
            moved = whole.pieces[1].path.read_bytes()[: chosen.randrange(100)]
            whole.head.write_bytes(whole.head.read_bytes() + moved if whole.head.exists() else moved)
    pytest.fail("it never came to an end")


def test_of_many_threads_one_is_told_that_the_file_is_whole(tmp_path: Path) -> None:
    for number in range(20):
        whole = Partial(tmp_path, str(number), 1000, 10)
        together = threading.Barrier(8)

        def work(pieces: list[Piece], whole: Partial = whole, together: threading.Barrier = together) -> list[bool]:
            together.wait()
            told = []
            for piece in pieces:
                fetch(whole, piece, 10)
                told.append(whole.join())
            return told

        with ThreadPoolExecutor(8) as pool:
            told = [word for words in pool.map(work, [whole.pieces[n::8] for n in range(8)]) for word in words]
        assert told.count(True) == 1
        assert whole.head.read_bytes() == DATA


@pytest.mark.parametrize("name", ["x.part.10-5", "x.part.0-10", "x.part.900-1100", "x.part.5-20", "x.part.30-40"])
def test_what_cannot_be_a_piece_of_this_file_is_not_used(tmp_path: Path, name: str) -> None:
    """Backwards, at the beginning, beyond the end, overlapping the head, and longer than its name says."""
    (tmp_path / "x.part").write_bytes(DATA[:10])
    (tmp_path / name).write_bytes(bytes(300))
    whole = Partial(tmp_path, "x", 1000, 100)
    assert whole.held_bytes == 10
    assert not (tmp_path / name).exists()


def test_a_head_that_is_too_long_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(bytes(1001))
    assert Partial(tmp_path, "x", 1000).held_bytes == 0


def test_more_than_a_piece_lacks_is_not_written(tmp_path: Path) -> None:
    whole = Partial(tmp_path, "x", 10)
    whole.append(whole.pieces[0], bytes(20))
    assert whole.join()
    assert whole.head.stat().st_size == 10


def test_as_one_stream_the_head_stays(tmp_path: Path) -> None:
    whole = Partial(tmp_path, "x", 1000, 100)
    fetch(whole, whole.pieces[0], 60)
    fetch(whole, whole.pieces[3], 60)
    piece = whole.as_one_stream()
    assert (piece.start, piece.stop, piece.held_bytes) == (0, 1000, 60)
    assert [path.name for path in tmp_path.iterdir()] == ["x.part"]


def test_nothing_is_left_of_what_is_given_up(tmp_path: Path) -> None:
    whole = Partial(tmp_path, "x", 1000, 100)
    for piece in whole.pieces:
        fetch(whole, piece, 50)
    whole.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_large_file_has_a_bounded_number_of_pieces(tmp_path: Path) -> None:
    assert len(Partial(tmp_path, "x", 1 << 44).pieces) <= partial.MAX_PIECES + 1

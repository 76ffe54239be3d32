"""Memory that is made ready beforehand is there when arrays are taken from it, and given back where none are."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.workload import memory
from service.engine.room import CACHE_LINE_BYTES, SLACK_BYTES, Room

SIZE_BYTES = 256 << 20


def resident_bytes() -> int:
    return memory()["RssAnon"]


def wait_until_resident(before: int) -> None:
    """Wait for most of the room to be there; the time is only what is given up after."""
    deadline = time.monotonic() + 60
    while resident_bytes() - before < SIZE_BYTES * 0.9:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_pages_are_there_before_anybody_takes_them_and_go_when_nobody_does() -> None:
    before = resident_bytes()
    room = Room(SIZE_BYTES)
    wait_until_resident(before)
    # What is only slack takes no memory.
    assert resident_bytes() - before < SIZE_BYTES + SLACK_BYTES / 2
    room.free()
    assert resident_bytes() - before < SIZE_BYTES / 2


def test_arrays_are_zeros_apart_from_each_other_and_begin_at_a_cache_line() -> None:
    room = Room(1 << 20)
    odd, even, rest = room.take((3, 7), np.int8), room.take((5, 16), np.float32), room.take((1 << 20,), np.uint8)
    assert [(array.shape, array.dtype) for array in (odd, even)] == [((3, 7), np.int8), ((5, 16), np.float32)]
    for array in (odd, even, rest):
        assert array.ctypes.data % CACHE_LINE_BYTES == 0 and array.flags.c_contiguous
        assert not array.any()
        array.fill(1)
    assert odd.sum() == 21 and even.sum() == 80 and rest.sum() == 1 << 20
    assert not np.shares_memory(odd, even) and not np.shares_memory(even, rest)


def test_what_does_not_fit_gets_memory_of_its_own_and_spoils_nothing() -> None:
    room = Room(0)
    small, large = room.take((64,), np.uint8), room.take((SLACK_BYTES + 1,), np.uint8)
    large.fill(1)
    assert not small.any() and not np.shares_memory(small, large)
    assert not room.take((64,), np.uint8).any()


def test_taking_ends_the_touching() -> None:
    before = resident_bytes()
    room = Room(6 << 30)
    room.take((1,), np.uint8)
    assert resident_bytes() - before < 3 << 30
    room.free()

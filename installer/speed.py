"""How fast a model will write here: 3 seconds of reading memory come in, tokens a second to expect go out.

A token is made by reading every weight once, so memory decides (measured: 14 tokens a second at most for 464 million
float32 parameters at 26 GB/s, and 6.8 to 8 are reached). What is measured is the C library's memchr() for a byte that
is not there, on as many threads as the model gets: it only reads, with the widest instructions of this processor, and
ctypes lets go of Python's lock meanwhile. The buffers are filled first, since the kernel maps untouched memory to one
page of zeros that never leaves the cache.
"""

import ctypes
import mmap
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from checksums.manifest import Manifest
from installer import facts_host
from installer.places import Places

DURATION_S = 3.0
# Together far more than any cache holds, and at most an eighth of what is free.
BUFFER_BYTES, MIN_BUFFER_BYTES = 512 << 20, 32 << 20
BYTES_PER_PARAMETER = {"float32": 4, "int8": 1}
# torch's float32 matrix-vector product reaches about half of that limit, and each token costs 10 to 20 ms of small
# steps beside it (measured on Qwen1.5-0.5B and SmolLM2-135M with transformers 5 and torch 2.13).
SLOW_SHARE, FAST_SHARE = 0.5, 0.7
SLOW_STEP_S, FAST_STEP_S = 0.020, 0.010
PRECISION_LINE = re.compile(r'^[ \t]*precision[ \t]*=[ \t]*"(float32|int8)"', re.MULTILINE)


@dataclass(frozen=True)
class Speed:
    """Bytes of memory read a second, and the tokens a second that they allow: at the very most, and to be expected."""

    bytes_per_s: float
    most: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """The sentence for the operator."""
        return (
            f"speed to expect: about {_round(self.low)} to {_round(self.high)} tokens a second in one short chat"
            f" (memory reads {self.bytes_per_s / 1e9:.0f} GB/s)"
        )


def estimate(bytes_per_s: float, weight_bytes: int) -> Speed:
    """Turn a bandwidth into tokens a second for a model whose weights have this size."""
    read_s = weight_bytes / bytes_per_s
    slow, fast = read_s / SLOW_SHARE + SLOW_STEP_S, read_s / FAST_SHARE + FAST_STEP_S
    return Speed(bytes_per_s, 1 / read_s, 1 / slow, 1 / fast)


def weight_bytes(manifest: Manifest, precision: str) -> int:
    """Return what is read for each token."""
    return manifest.model.parameters * BYTES_PER_PARAMETER[precision]


def precision_of(places: Places) -> str:
    """Return the precision that the settings ask for."""
    try:
        found = PRECISION_LINE.search(places.config.read_text(errors="replace"))
    except OSError:
        return "float32"
    return found[1] if found else "float32"


def expect(manifest: Manifest, places: Places, duration_s: float = DURATION_S) -> Speed:
    """Measure this server and say what the model of a release will do on it."""
    free_bytes = facts_host.memory(places.is_user).available_bytes
    measured = bandwidth(threads_of(), free_bytes, duration_s)
    return estimate(measured, max(1, weight_bytes(manifest, precision_of(places))))


def bandwidth(threads: int, free_bytes: int, duration_s: float) -> float:
    """Return the bytes a second that `threads` threads together read from memory."""
    size = max(MIN_BUFFER_BYTES, min(BUFFER_BYTES, free_bytes // 8)) // threads
    with ThreadPoolExecutor(threads) as pool:
        readers = list(pool.map(lambda _: _Reader(size), range(threads)))
        began = time.monotonic()
        read: int = sum(pool.map(lambda reader: reader.read(lambda: time.monotonic() - began < duration_s), readers))
        return read / (time.monotonic() - began)


class _Reader:
    """A buffer of its own, filled, and read from end to end again and again."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.map = mmap.mmap(-1, size)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        ctypes.memset(self.address, 1, size)
        self.search = ctypes.CDLL(None).memchr
        self.search.argtypes, self.search.restype = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t), ctypes.c_void_p

    def read(self, goes_on: Callable[[], bool]) -> int:
        """Read until told to stop; return the bytes."""
        total = 0
        while goes_on():
            self.search(self.address, 0, self.size)
            total += self.size
        return total


def threads_of(cpus: Path = Path("/sys/devices/system/cpu")) -> int:
    """Return how many threads the model gets: one for each physical core that this process may use."""
    allowed = os.sched_getaffinity(0)
    return len({_core(cpus / f"cpu{number}", number) for number in allowed})


def _core(cpu: Path, number: int) -> str:
    try:
        return (cpu / "topology" / "thread_siblings_list").read_text().strip()
    except OSError:
        return str(number)


def _round(tokens: float) -> str:
    return f"{tokens:.0f}" if tokens >= 2 else f"{tokens:.1f}"

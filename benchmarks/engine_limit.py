"""`python -m benchmarks.engine_limit BYTES THREADS`: the memory-bandwidth limit; bytes a second come out as JSON.

Decoding reads every weight once a token: no engine is faster than a loop that does nothing but read them.
"""

import json
import statistics
import sys
import time

import numba
import numpy as np
from numpy.typing import NDArray

PASSES = 9
CHUNKS_PER_THREAD = 4


@numba.njit(parallel=True, fastmath=True)  # type: ignore[untyped-decorator]
def read(numbers: NDArray[np.float32], sums: NDArray[np.float32]) -> None:
    """Sum up each thread's parts: the least that can be done with what is read."""
    for chunk in numba.prange(sums.size):
        total = np.float32(0)
        for index in range(chunk * numbers.size // sums.size, (chunk + 1) * numbers.size // sums.size):
            total += numbers[index]
        sums[chunk] = total


def measure(size_bytes: int, threads: int) -> float:
    """Return the bytes a second that `threads` threads read from memory: the median of some passes after a first."""
    numba.set_num_threads(threads)
    numbers = np.ones(size_bytes // 4, np.float32)
    sums = np.zeros(CHUNKS_PER_THREAD * threads, np.float32)
    seconds = []
    for _ in range(PASSES + 1):
        began = time.perf_counter()
        read(numbers, sums)
        seconds.append(time.perf_counter() - began)
    return numbers.nbytes / statistics.median(seconds[1:])


if __name__ == "__main__":
    print(json.dumps({"bytes_per_s": measure(int(sys.argv[1]), int(sys.argv[2]))}))

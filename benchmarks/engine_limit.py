"""`python -m benchmarks.engine_limit BYTES THREADS`: the memory-bandwidth limit; bytes a second come out as JSON.

Decoding reads every weight once a token: no engine is faster than a loop that does nothing but read them.
"""

import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

PASSES = 9


def measure(size_bytes: int, threads: int) -> float:
    """Return the bytes a second that `threads` threads read from memory: the median of some passes after a first."""
    # numpy adds up with vectors and without a lock; a plain loop would wait for its own sums, not for memory.
    numbers = np.ones(size_bytes // 4, np.float32)
    parts = np.array_split(numbers, threads)
    seconds = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(PASSES + 1):
            began = time.perf_counter()
            list(pool.map(np.add.reduce, parts))
            seconds.append(time.perf_counter() - began)
    return numbers.nbytes / statistics.median(seconds[1:])


if __name__ == "__main__":
    print(json.dumps({"bytes_per_s": measure(int(sys.argv[1]), int(sys.argv[2]))}))

"""What the decoder's thread does for the whole process."""

import subprocess
import sys

# So many objects stay; so many rings are made and let go, each in use for long enough to be taken for one that stays.
STAYING, MADE, IN_USE = 500_000, 100_000, 10_000
PROGRAM = f"""
from collections import deque

from service.engine.worker import pass_over_what_stays


class Ring:
    there = most = 0

    def __init__(self):
        self.own = self
        Ring.there += 1
        Ring.most = max(Ring.most, Ring.there)

    def __del__(self):
        Ring.there -= 1


staying = [[] for _ in range({STAYING})]
pass_over_what_stays()
in_use = deque(maxlen={IN_USE})
for _ in range({MADE}):
    in_use.append(Ring())
print(Ring.most)
"""


def test_what_clients_leave_in_rings_is_found_however_much_the_libraries_keep() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert IN_USE < int(done.stdout) < MADE / 2

"""Hashing a password beside the loop that serves: in a process of its own, as gevent patches all of it."""

from __future__ import annotations

import subprocess
import sys

from web_process import ROOT

SCRIPT = """
from gevent import monkey
monkey.patch_all()
import gevent
from service.web.aside import Aside
from service.web.errors import Refusal
from service.web.passwords import hash_password, is_password

served = 0

def serve():
    global served
    while True:
        served += 1
        gevent.sleep(0)

aside = Aside(at_once=1)
gevent.spawn(serve)
hashed = aside.run(hash_password, "word")
assert served > 10, f"the loop turned {served} times while a password was hashed"
assert aside.run(is_password, "word", hashed) and not aside.run(is_password, "other", hashed)

aside._waiting = 200
try:
    aside.run(print, "not reached")
except Refusal as refusal:
    assert (refusal.status, refusal.retry_after) == (503, "2")
else:
    raise AssertionError("no refusal")
"""


def test_the_loop_goes_on_while_a_password_is_hashed_and_a_flood_is_refused() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "not reached" not in done.stdout

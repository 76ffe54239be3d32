"""Check the audit log in a process of its own, for the page: `python -m service.web.audit_check LOG DATA`.

What it finds is kept beside the data. It gives way to whoever answers people.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from service.web import audit_state, audit_verify

NICE = 10


def main() -> None:
    with suppress(OSError):  # the unit forbids it: there CPUWeight keeps the engine and the web apart
        os.nice(NICE)
    log, data = map(Path, sys.argv[1:])
    audit_state.keep(data, audit_verify.verify(log, data, jobs=1))


if __name__ == "__main__":
    main()

"""The kernels for this machine, compiled once and kept: a folder, as an install leaves it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import subprocess
import sys
from pathlib import Path

from service.engine.kernels.finding import KEPT
from service.engine.kernels.processor import host

CACHE = Path.home() / ".cache" / "ferry" / "kernels"
CHECKOUT = Path(__file__).resolve().parent.parent


def folder(lanes: int | None = None) -> Path:
    """Return a folder with kernels for `lanes` (the machine's own width), compiled when there is none."""
    wanted = {**host().render(), "lanes": lanes or host().lanes}
    name = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]
    found = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (found / "kernels.json").exists():
            command = [
                sys.executable,
                "-m",
                "service.engine.kernels.build",
                "--lanes",
                str(wanted["lanes"]),
                str(found),
            ]
            subprocess.run(command, cwd=CHECKOUT, check=True)
    return found


def bring(release: Path) -> None:
    """Put the kernels into a release, where an install leaves them."""
    place = release / KEPT
    place.parent.mkdir(parents=True)
    place.symlink_to(folder())

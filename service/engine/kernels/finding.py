"""Which kernels this engine runs on: those of its release, or, on another processor than at install, its own.

The release's were compiled when it was installed, belong to root and are checked by `ferry verify`. On another
processor the engine compiles once into its cache; the journal says so.
"""

import logging
import subprocess
import sys
import time
from pathlib import Path

from service.engine.kernels import loading
from service.engine.kernels.processor import describe, host

log = logging.getLogger(__name__)
FOLDER = "kernels"
# The installer compiles them beside the code that they belong to.
KEPT = Path("app", FOLDER)


class NoKernels(Exception):
    """There are none for this machine; the text says why."""


def find(release: Path, cache: Path) -> Path:
    """Return a folder with kernels for this machine. Raises: NoKernels."""
    if not host().can_run:
        raise NoKernels(f"this processor ({host().name}) has no fused multiply-add or reads no halves")
    kept, own = release / KEPT, cache / FOLDER
    for folder in (kept, own):
        if loading.is_current(folder):
            return folder
    made_for = describe(kept).get("cpu", "nothing")
    log.warning(
        "the kernels were compiled for %s: compiling for this processor (%s) into %s", made_for, host().name, own
    )
    started = time.monotonic()
    _build(own)
    log.info("compiled in %.0f s; the next start does without", time.monotonic() - started)
    return own


def _build(folder: Path) -> None:
    command = [sys.executable, "-m", "service.engine.kernels.build", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NoKernels(f"they cannot be compiled: {error}") from error
    if done.returncode or not loading.is_current(folder):
        raise NoKernels(f"they cannot be compiled: {done.stderr.strip().splitlines()[-1:] or done.returncode}")

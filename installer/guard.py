"""A process that waits for the installation's lock, and takes back what its holder began, should that one be killed.

systemd runs it where there is systemd, else it leads a session of its own. It is the command `ferry recover` of the
release that runs when the change begins: a first install has none, and nothing to bring back.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from checksums import process
from checksums.errors import FerryError
from installer import state
from installer.places import Places


@contextmanager
def watching(places: Places) -> Iterator[None]:
    """Let a guard wait while the block lasts: it is sent away at its end, and goes to work when we are killed."""
    words = _command(places)
    if not words:
        yield
    elif places.is_user:
        nothing = subprocess.DEVNULL
        # Not `process.run`: it outlives us.
        guard = subprocess.Popen(words, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True, cwd="/")
        try:
            yield
        finally:
            guard.terminate()
            guard.wait()
    else:
        unit = f"ferry-guard-{os.getpid()}.service"
        options = ["--quiet", "--collect", "--no-block", "--property=SuccessExitStatus=130"]
        process.run(["systemd-run", *options, f"--unit={unit}", "--", *words], check=False)
        try:
            yield
        finally:
            process.run(["systemctl", "stop", unit], check=False)


def _command(places: Places) -> list[str]:
    """Return the words of a guard of the release that runs, by paths that stay when `current` moves."""
    try:
        found = state.read(places)
    except FerryError:
        return []
    if found is None:
        return []
    release = places.release(found.release)
    python, program = release / "venv" / "bin" / "python", release / "install.pyz"
    if not (python.exists() and program.is_file()):
        return []
    return [*map(str, (python, "-I", "-B", "-S", program, "--prefix", places.prefix)), "recover"]


def is_guard(pid: int) -> bool:
    """Say whether a process is somebody's `ferry recover`."""
    try:
        return b"recover" in Path("/proc", str(pid), "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False

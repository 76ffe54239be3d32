"""Lock -> wheel files: fetched by pip, by exact digest, kept in a store under their digest.

What is in the store was hashed when it came in; it is hashed once more while it is packed. A second build fetches
nothing, and one that was killed goes on: large wheels come one by one, small ones in groups of some megabytes. pip is
told the target's tags, so that it takes the target's wheels whatever host it runs on.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bundle import cache, lock, targets
from bundle.lock import Locked
from bundle.progress import Progress
from bundle.resolve import locate
from bundle.retry import Tries
from bundle.sources import Sources, without_passwords
from checksums import process
from checksums.errors import CollectError, IntegrityError
from checksums.hashing import sha256_file
from checksums.manifest import Target

MISMATCH = "DO NOT MATCH THE HASHES"
NOT_OFFERED = "No matching distribution"
# What a kill can cost beyond the wheel that is being fetched; and pip takes half a second to start.
GROUP_BYTES = 8_000_000
TRIES = 4


def stored(wheel: Locked) -> Path:
    """Return where a wheel lies in the store, whether it is there or not."""
    return cache.folder("wheels") / wheel.sha256 / wheel.file


def missing(wheels: Sequence[Locked]) -> list[Locked]:
    """Return the wheels that the store does not have, or has cut short."""
    return [wheel for wheel in wheels if not _is_stored(wheel)]


def _is_stored(wheel: Locked) -> bool:
    place = stored(wheel)
    return place.is_file() and place.stat().st_size == (wheel.size_bytes or place.stat().st_size)


def ask(wheels: Sequence[Locked], target: Target, sources: Sources) -> Sources:
    """Ask the sources for what the store lacks, fetching none of it; return the sources that have it."""
    return locate(wanted, target, sources) if (wanted := missing(wheels)) else sources


def collect(wheels: Sequence[Locked], target: Target, sources: Sources, progress: Progress) -> list[Path]:
    """Return the files of all wheels, fetching those that the store lacks.

    Raises:
        CollectError: a wheel cannot be fetched.
        IntegrityError: what a source sent is not what the lock names.
    """
    wanted = missing(wheels)
    for left_by_a_kill in cache.folder("wheels").glob(".fetch-*") if wanted else ():
        shutil.rmtree(left_by_a_kill)
    for group in groups(wanted):
        tries = Tries(TRIES)
        while missing(group):
            try:
                _fetch(group, target, sources, progress)
            except CollectError as error:
                if NOT_OFFERED in error.message:
                    raise
                pause_s = tries.pause_s(error)
                progress.note(f"{group[0].file}: could not be fetched, trying again in {pause_s:g} s")
                time.sleep(pause_s)
    return [stored(wheel) for wheel in wheels]


def groups(wheels: Sequence[Locked]) -> list[list[Locked]]:
    """Return the wheels in the order in which they are fetched: small ones together, the others one by one."""
    found: list[list[Locked]] = []
    room = 0
    for wheel in sorted(wheels, key=lambda wheel: (wheel.size_bytes or GROUP_BYTES, wheel.file)):
        room -= wheel.size_bytes or GROUP_BYTES
        if room < 0:
            found.append([])
            room = GROUP_BYTES - (wheel.size_bytes or GROUP_BYTES)
        found[-1].append(wheel)
    return found


def _fetch(group: Sequence[Locked], target: Target, sources: Sources, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache.folder("wheels")) as folder:
        _download(group, target, sources, Path(folder), progress)
        for wheel in group:
            _keep(wheel, Path(folder, "wheels", wheel.file))


def _download(wanted: Sequence[Locked], target: Target, sources: Sources, folder: Path, progress: Progress) -> None:
    requirements, temporary = folder / "requirements.txt", folder / "wheels" / ".pip"
    requirements.write_text("".join(f"{lock.requirement(wheel)}\n" for wheel in wanted), encoding="utf-8")
    temporary.mkdir(parents=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--no-input"]
    command += ["--only-binary", ":all:", "--progress-bar", "off", "--disable-pip-version-check"]
    command += [*targets.pip_arguments(target), "--dest", str(folder / "wheels"), "-r", str(requirements)]
    total = lock.total_bytes(wanted)
    # pip downloads into TMPDIR and copies from there to --dest: both lie in the watched folder.
    label = wanted[0].file if len(wanted) == 1 else f"{len(wanted)} small wheels"
    with progress.watch_folder(label, folder / "wheels", total):
        environment = {**os.environ, **sources.for_pip(), "TMPDIR": str(temporary)}
        done = process.run(command, env=environment, check=False)
    if done.returncode != 0:
        text = without_passwords((done.stdout + done.stderr).decode(errors="replace")).strip()
        kind = IntegrityError if MISMATCH in text else CollectError
        raise kind(f"the wheels cannot be fetched:\n{text}", "check: pip config list, and the network")


def _keep(wheel: Locked, file: Path) -> None:
    """Move a fetched wheel into the store, if it is the very file that the lock names."""
    if not file.is_file():
        raise CollectError(f"{wheel.file}: pip fetched another file for {wheel.name}", "resolve again: bundle lock")
    digest = sha256_file(file)
    if digest != wheel.sha256:
        raise IntegrityError(f"{wheel.file}: sha256 is {digest}, the lock says {wheel.sha256}", "ask the index's owner")
    size = file.stat().st_size
    if size != (wheel.size_bytes or size):
        raise IntegrityError(f"{wheel.file}: {size} bytes, the lock says {wheel.size_bytes}", lock.AGAIN)
    place = stored(wheel)
    place.parent.mkdir(exist_ok=True)
    shutil.move(file, place)

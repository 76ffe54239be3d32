"""One change of an installation, whole or not at all: a command's name goes in, `Changes` to make it with come out.

Everything is taken back on any exception, by the same steps that take back what a killed run left: they stand in the
journal. While the change lasts, a guard waits for the lock; whoever holds it may be killed, and the guard takes the
change back at once. After a power cut ferry-recover.service does, before the service starts.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from checksums.errors import FerryError, naming
from installer import guard, journal, lock, undo
from installer.files import Changes
from installer.journal import Journal, Record, Step
from installer.places import Places
from installer.progress import Progress
from installer.release import STAGING

log = logging.getLogger(__name__)
AGAIN = "mend what it names, then run: ferry recover"


@contextmanager
def begin(places: Places, command: str, progress: Progress) -> Iterator[Changes]:
    """Hold the lock, take back what an earlier run left, and let changes be made; they stay when the block ends well.

    Raises:
        Busy: somebody else is changing the installation.
        FerryError: what an earlier run left cannot be taken back.
    """
    made = _make(places.prefix)
    try:
        with lock.exclusive(places.prefix):
            _recover(places, progress)
            with guard.watching(places):
                yield from _change(places, command, progress, made)
    except BaseException:
        # Where another process holds the lock, the folder that we made for both is now that one's.
        _drop(made)
        raise


def _change(places: Places, command: str, progress: Progress, made: tuple[Path, ...]) -> Iterator[Changes]:
    with naming(places.prefix):
        record = Journal.begin(places, command, made)
    try:
        with naming(places.prefix):
            yield Changes(record)
            record.commit()
    except BaseException as error:
        record.close()
        try:
            _recover(places, progress)
        except FerryError as left:
            raise FerryError(f"{error}\n{left.message}", left.hint) from error
        raise
    record.close()
    try:
        _recover(places, progress)
    except (FerryError, OSError) as error:
        # The change stays; what is left over goes with the next command.
        log.warning("%s", error)


def is_pending(places: Places) -> bool:
    """Say whether a change is under way, or was broken off and not yet taken back."""
    return journal.path_of(places).exists()


def recover(places: Places, progress: Progress, waits: bool = False, is_boot: bool = False) -> Record | None:
    """Take back, or finish, what a killed run left; return what it was. `waits` while somebody is at work.

    With `is_boot` nothing is started or stopped: systemd is about to.

    Raises:
        Busy: somebody is at work.
        FerryError: a step failed; what is left to do stays written down.
    """
    if not places.prefix.is_dir():
        return None
    with lock.exclusive(places.prefix, waits):
        return _recover(places, progress, is_boot)


def _recover(places: Places, progress: Progress, is_boot: bool = False) -> Record | None:
    """As `recover`, by who holds the lock."""
    found = journal.read(places)
    # First: as long as it is there, what it shares with the store is in use.
    for stale in places.prefix.glob(f"{STAGING}*"):
        shutil.rmtree(stale, ignore_errors=True)
    if found:
        if found.is_committed:
            _do(places, found.finish, progress, is_boot)
        else:
            progress.step(f"taking back what the {found.command} had begun")
            _do(places, found.undo[::-1], progress, is_boot)
        journal.path_of(places).unlink()
        journal.sync_folder(places.prefix)
        if not found.is_committed:
            _drop(found.made)
    return found


def _do(places: Places, steps: tuple[Step, ...], progress: Progress, is_boot: bool) -> None:
    """Do every step, also when one of them fails."""
    record, failed = Journal.again(places), []
    try:
        for step in steps:
            if problem := _try(undo.Context(places, progress), step, is_boot):
                failed.append(problem)
            else:
                record.done(step)
    finally:
        record.close()
    if failed:
        raise FerryError("\n".join(["not everything could be taken back:", *failed]), AGAIN)


def _try(context: undo.Context, step: Step, is_boot: bool) -> str:
    """Do a step; return why it failed, "" where it did not, or only could not start or stop something."""
    is_service = step.name in undo.SERVICE
    if is_boot and is_service:
        return ""
    try:
        undo.STEPS[step.name](context, *step.arguments)
    except (OSError, FerryError) as error:
        log.warning("%s: %s", step.name, error)
        return "" if is_service else f"{step.name} {step.arguments[0] if step.arguments else ''}: {error}"
    return ""


def _make(prefix: Path) -> tuple[Path, ...]:
    """Make the prefix with its parents; return those that were not there, outermost first."""
    missing = [path for path in (*reversed(prefix.parents), prefix) if not path.is_dir()]
    for path in missing:
        path.mkdir(mode=0o755, exist_ok=True)
        path.chmod(0o755)
    return tuple(missing)


def _drop(made: tuple[Path, ...]) -> None:
    """Remove the folders that were made for the prefix, where nothing is in them."""
    for path in reversed(made):
        try:
            path.rmdir()
        except OSError:
            return

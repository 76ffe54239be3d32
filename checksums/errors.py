"""The errors that Ferry raises: one base class, children named for the remedy, each with its exit code.

The core raises them; only a cli module presents them. `message` names the thing, `hint` the next command.
Exit codes are the contract's: 1 failed, 2 usage, 3 integrity or trust, 4 this host, 5 not healthy.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FerryError(Exception):
    """Something failed that an operator can act upon."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(FerryError):
    """The command was called wrongly, or a file that it names is not there."""

    exit_code = 2


class IntegrityError(FerryError):
    """What was offered is damaged, is not what was signed, or is signed by nobody trusted."""

    exit_code = 3


class HostError(FerryError):
    """This host cannot do it; mend the host, not the bundle."""

    exit_code = 4


class HealthError(FerryError):
    """The new release was not healthy and the old state is back."""

    exit_code = 5


class CollectError(FerryError):
    """Something could not be fetched from an index or a hub."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the system name `path` where it names nothing, as when a descriptor cannot be written to."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise

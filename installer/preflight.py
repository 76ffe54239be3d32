"""Can this server run the release? A subject comes in, named checks go out, all of them at once.

Each check says what was found, what is needed and how to mend it. Nothing is changed here. The facts are gathered
first (gathering.py), then judged by pure functions (checks_*.py).
"""

from checksums.errors import HostError
from installer.checks import GIB, Check, Question, Subject, judge
from installer.checks_disk import DISK
from installer.checks_machine import MACHINE
from installer.checks_system import SYSTEM
from installer.gathering import gather

__all__ = ["GIB", "QUESTIONS", "Check", "Subject", "demand", "examine", "warnings"]
QUESTIONS: tuple[Question, ...] = (*SYSTEM, *MACHINE, *DISK)


def examine(subject: Subject) -> list[Check]:
    """Run every check."""
    return judge(QUESTIONS, gather(subject), subject)


def demand(checks: list[Check]) -> None:
    """Raise HostError that names every check that forbids an installation."""
    failed = [check for check in checks if check.forbids]
    if failed:
        lines = (f"{check.name}: found {check.found}, needed {check.needed}" for check in failed)
        raise HostError("\n".join(["this server cannot run it:", *lines]), "; ".join(check.hint for check in failed))


def warnings(checks: list[Check]) -> list[str]:
    """Return a line for each check that failed and forbids nothing."""
    failed = [check for check in checks if not check.ok and not check.forbids]
    return [f"{check.name}: found {check.found}, needed {check.needed}; {check.hint}" for check in failed]

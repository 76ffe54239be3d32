"""What a check is: facts and a subject come in, an answer goes out. Which ones there are is in the checks_ modules.

A check is a function named for what it looks at; its answer is (is it good, found, needed, what mends it), or None
where it does not apply. `must` marks those that forbid an installation, `advice` those that only tell.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from checksums.manifest import Manifest
from installer.facts import Facts, UnknownFact
from installer.places import Places

GIB = 1 << 30
MIB = 1 << 20
MUST, ADVICE = "must", "advice"


@dataclass(frozen=True)
class Check:
    """One finding; `hint` is what mends it. With `severity` "advice" a failed one forbids nothing."""

    name: str
    ok: bool
    found: str
    needed: str
    hint: str
    severity: str = MUST

    @property
    def forbids(self) -> bool:
        """Whether this finding alone keeps Ferry from running here."""
        return not self.ok and self.severity == MUST


@dataclass(frozen=True)
class Subject:
    """What is examined: a release for a place; `listen` is None where Ferry itself holds the port already.

    `new_bytes` is what it takes on disk beyond what the store has. `is_carried` says that it will run on the
    interpreter that came with it, else it runs on `python`, or on the interpreter that runs this. `is_installed` says
    that it is here already, and needs only room to grow.
    """

    manifest: Manifest
    places: Places
    listen: str | None
    new_bytes: int = 0
    is_carried: bool = False
    python: Path | None = None
    is_installed: bool = False


Answer = tuple[bool, str, str, str] | None
Ask = Callable[[Facts, Subject], Answer]


@dataclass(frozen=True)
class Question:
    """A check that can be asked, and how much its answer weighs."""

    name: str
    severity: str
    ask: Ask

    def check(self, facts: Facts, subject: Subject) -> Check | None:
        """Judge the facts; what is not known cannot be good, and forbids nothing."""
        try:
            answer = self.ask(facts, subject)
        except UnknownFact as error:
            return Check(
                self.name, False, f"cannot be told: {error}", "to be known", "mend that, then: ferry doctor", ADVICE
            )
        return Check(self.name, *answer, self.severity) if answer else None


def must(ask: Ask) -> Question:
    """Make a check of a function; failing forbids."""
    return Question(_name(ask), MUST, ask)


def advice(ask: Ask) -> Question:
    """Make a check of a function; failing only tells."""
    return Question(_name(ask), ADVICE, ask)


def judge(questions: Iterable[Question], facts: Facts, subject: Subject) -> list[Check]:
    """Ask all of them; those that do not apply leave nothing."""
    return [check for question in questions if (check := question.check(facts, subject))]


def gib(size_bytes: int) -> str:
    """Write a size for people; what is small in MiB, so that it does not read 0.0."""
    return f"{size_bytes / GIB:.1f} GiB" if size_bytes >= GIB // 10 else f"{size_bytes / MIB:.0f} MiB"


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, to compare it by."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _name(ask: Ask) -> str:
    return ask.__name__.replace("_", " ")

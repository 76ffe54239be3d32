"""What is missing where the sources do not offer everything: all of it at once, each found by asking for it alone.

uv names the first that it misses. Each candidate (what is required, and what uv's log says that something else asks
for) is tried on its own; what has no wheel is left out, and the rest is resolved again, which may reach further.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bundle import closure, targets
from bundle.lock import describe
from bundle.resolver import NoSolutionError, Question, ask
from checksums.errors import CollectError
from checksums.manifest import Target

TORCH = "torch"
# How uv words that one package needs another: with the range, which decides where only other versions have wheels.
DEPENDS_ON = re.compile(r"depends? on ([A-Za-z0-9._-]+(?:[=<>!~]=?[^\s,]+(?:,[=<>!~]=?[^\s,]+)*))")
CAUSE = re.compile(r"cause: Because (.+?)(?: and (?:only|you require) .*)?$", re.MULTILINE)
MAX_WHY = 300


@dataclass(frozen=True)
class Missing:
    """A requirement for which there is no wheel, and why, in one line or not at all."""

    requirement: str
    why: str

    @property
    def name(self) -> str:
        """The package's normalised name."""
        return _name(self.requirement)

    def __str__(self) -> str:
        return f"{self.requirement}: {self.why}" if self.why else self.requirement


class MissingError(CollectError):
    """The sources answer, and have no wheel for these requirements; `missing` is all of them."""

    def __init__(self, missing: Sequence[Missing], target: Target, note: str = "") -> None:
        lines = "".join(f"\n  {entry}" for entry in missing)
        hint = "add a source that has them: --find-links FOLDER, or pip's own configuration"
        if any(entry.name == TORCH for entry in missing):
            file = f"torch-…+cpu-{targets.abi(target)}-…_{target.platform}.whl"
            hint = f"set PIP_FIND_LINKS=FOLDER, with {file} in that folder"
        super().__init__(f"no wheel for {describe(target)}:{lines}{note}", hint)
        self.missing = tuple(missing)


def lacks_torch(question: Question) -> bool:
    """Tell whether torch is required and the sources have no wheel of it."""
    return bool(unavailable(question, [entry for entry in _required(question) if _name(entry) == TORCH]))


def find_missing(question: Question, error: NoSolutionError | None) -> tuple[list[Missing], NoSolutionError | None]:
    """Return everything that has no wheel, and the contradiction that remains without it, if any.

    `error` is how the question failed.
    """
    found: list[Missing] = []
    while error is not None:
        new = _culprits(question, error, {entry.name for entry in found})
        if not new:
            break
        found += new
        error = _attempt(question, found)
    if error is None:
        found = _necessary(question, found)
    return sorted(found, key=str), error


def _culprits(question: Question, error: NoSolutionError, left_out: set[str]) -> list[Missing]:
    required = [entry for entry in _required(question) if _name(entry) not in left_out]
    known = {_name(entry) for entry in required} | left_out
    if found := unavailable(question, [*required, *(name for name in error.asked_for if name not in known)]):
        return found
    # Every package has some wheel; then no version that has one is in the range that another package asks for.
    ranges = dict.fromkeys(entry for entry in DEPENDS_ON.findall(error.message) if _name(entry) not in left_out)
    return next((found for entry in ranges if (found := unavailable(question, [entry]))), [])


def _necessary(question: Question, found: list[Missing]) -> list[Missing]:
    """Drop what only a version asks for that whole sources would not lead to, the last found first."""
    for entry in reversed(found):
        others = [other for other in found if other is not entry]
        if others and _attempt(question, others) is None:
            found = others
    return found


def _attempt(question: Question, without: Sequence[Missing]) -> NoSolutionError | None:
    try:
        ask(replace(question, without=tuple(sorted(entry.name for entry in without))))
    except NoSolutionError as error:
        return error
    return None


def unavailable(question: Question, requirements: Sequence[str]) -> list[Missing]:
    """Return those of `requirements` that no source has a wheel for, each by itself: a set that fails is halved."""
    if not requirements:
        return []
    try:
        ask(replace(question, requirements="\n".join(requirements), without=(), is_alone=True))
    except NoSolutionError as error:
        if len(requirements) == 1:
            return [Missing(requirements[0], _why(error))]
        middle = len(requirements) // 2
        return [*unavailable(question, requirements[:middle]), *unavailable(question, requirements[middle:])]
    return []


def _why(error: NoSolutionError) -> str:
    """Return uv's reason where it is one short line."""
    cause = CAUSE.search(error.message)
    return cause[1] if cause and len(cause[1]) < MAX_WHY and not cause[1].endswith(":") else ""


def _required(question: Question) -> list[str]:
    """Return the requirements that count on the target, without their markers."""
    found = closure.applying(closure.requirements(question.requirements), question.target)
    return [_without_marker(entry) for entry in found]


def _without_marker(entry: Requirement) -> str:
    return f"{canonicalize_name(entry.name)}{entry.specifier}"


def _name(requirement: str) -> str:
    return str(canonicalize_name(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]))

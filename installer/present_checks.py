"""How checks look to a person: findings come in, lines of at most 100 columns go out. What is good is short."""

import textwrap
from collections.abc import Iterator, Sequence

from installer.checks import Check

COLUMNS = 100
NAME_COLUMNS = 20
INDENT = " " * 6


def lines(checks: Sequence[Check]) -> Iterator[str]:
    """Yield the table: what is good, then what is only advice, and what forbids last, where the eye is."""
    order = sorted(checks, key=lambda check: (not check.ok, check.forbids))
    for check in order:
        yield from _good(check) if check.ok else _bad(check)


def summary(checks: Sequence[Check]) -> str:
    """Return the last line."""
    forbidding = sum(check.forbids for check in checks)
    telling = sum(not check.ok for check in checks) - forbidding
    return f"{len(checks)} checks: {forbidding} failed, {telling} to know about, {_good_count(checks)} good"


def _good(check: Check) -> Iterator[str]:
    line = f"ok    {check.name:<{NAME_COLUMNS}} {check.found}"
    yield line if len(line) <= COLUMNS else line[: COLUMNS - 1] + "…"


def _bad(check: Check) -> Iterator[str]:
    mark = "FAIL  " if check.forbids else "note  "
    text = f"{check.name:<{NAME_COLUMNS}} found {check.found}; needed {check.needed}"
    yield from textwrap.wrap(mark + text, COLUMNS, subsequent_indent=INDENT, drop_whitespace=True)
    yield from textwrap.wrap(f"-> {check.hint}", COLUMNS, initial_indent=INDENT, subsequent_indent=INDENT + "   ")


def _good_count(checks: Sequence[Check]) -> int:
    return sum(check.ok for check in checks)

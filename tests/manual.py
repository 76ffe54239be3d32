"""Read the operator's manual as its reader does: command by command, with the output that stands behind them.

In: the text of docs/manual.md or its translation. Out: its blocks. What stands in a box marked `sh` is run,
line by line, by tests/e2e/test_manual_followed.py; a box marked `text` right behind it holds lines that the output must
have, in that order, with `…` for anything. What is only indented is shown and not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MANUALS = (ROOT / "docs" / "manual.md", ROOT / "docs" / "manual.zh.md")
FENCE = re.compile(r"^```(\w*)\n((?:(?!```).*\n)*)```$", re.MULTILINE)
INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """Commands, and the lines that their output must have in this order."""

    commands: tuple[str, ...]
    output: tuple[str, ...] = ()


def steps(text: str) -> list[Step]:
    """Return what the manual has its reader run."""
    found: list[Step] = []
    for kind, body in FENCE.findall(text):
        lines = tuple(body.splitlines())
        if kind == "sh":
            found.append(Step(lines))
        else:
            found[-1] = Step(found[-1].commands, lines)
    return found


def code(text: str) -> list[str]:
    """Return all that is no prose: boxes and indented blocks, as they stand."""
    return [found.group() for found in re.finditer(f"{FENCE.pattern}|{INDENTED.pattern}", text, FENCE.flags)]


def chapters(text: str) -> list[str]:
    """Return the numbers of the chapters."""
    return re.findall(r"^## (\d+)\. ", text, re.MULTILINE)


def missing(step: Step, output: str) -> Iterator[str]:
    """Yield the lines of a step that its output does not have, each looked for behind the one before."""
    lines = iter(output.splitlines())
    for wanted in step.output:
        pattern = re.compile(".*".join(re.escape(part) for part in wanted.split("…")))
        if not any(pattern.fullmatch(line) for line in lines):
            yield wanted
            lines = iter(output.splitlines())

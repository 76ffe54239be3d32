"""Collect the error messages of the shell scripts: install.sh, and those that stand as text in the installer's modules.

In: a file or a checkout. Out: exit status, text with `…` for each expansion, and place. tests/error_messages.py asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

GAP = "…"
Said = tuple[int, str, str]


def shell_messages(script: Path) -> Iterator[Said]:
    """Yield what install.sh's `fail STATUS MESSAGE` and `refuse MESSAGE` say."""
    text = script.read_text()
    for found in re.finditer(r'\b(?:fail (?P<code>\d)|refuse) "', text):
        words = re.sub(f"{GAP}+", GAP, _quoted(text, found.end())).partition("\n")[0]
        if re.search(r"[^\W\d_]{2}", words.replace(GAP, "")):
            place = f"installer/install.sh:{text[: found.start()].count(chr(10)) + 1}"
            yield (int(found["code"] or 3), words, place)


def _quoted(text: str, at: int) -> str:
    """Return a double-quoted word of a shell script from behind its first quote, with a gap for each expansion."""
    words, depth = "", 0
    while depth or text[at] != '"':
        if text[at] == "$" and text[at + 1] in "({":
            words, depth, at = words + GAP, depth + 1, at + 1
        elif depth:
            depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(text[at], 0)
        elif name := re.compile(r"\$\w+").match(text, at):
            words, at = words + GAP, name.end() - 1
        else:
            words += text[at]
        at += 1
    return words


def carried_shell_messages(root: Path) -> Iterator[Said]:
    """Yield what the shell scripts say in the installer's modules: `echo "error: …"`, `error="…"`."""
    said = re.compile(r'(?:echo "error: (?P<echoed>[^"]*)"|\berror="(?P<kept>[A-Za-z][^"]*)")')
    for path in sorted((root / "installer").glob("*.py")):
        text = path.read_text()
        for found in said.finditer(text):
            words = re.sub(r"\$\w+", GAP, found["echoed"] or f"{GAP}: {found['kept']}")
            place = f"installer/{path.name}:{text[: found.start()].count(chr(10)) + 1}"
            yield (1 if found["echoed"] else 4, words, place)

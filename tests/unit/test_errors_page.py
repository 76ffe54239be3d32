"""docs/errors.md and its translation explain every message that the server's side can print, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import error_messages
import pytest
from error_messages import Message
from manual import ROOT

from installer import preflight
from installer.checks_service import SERVICE

PAGES = (ROOT / "docs" / "errors.md", ROOT / "docs" / "errors.zh.md")
ROW = re.compile(r"^\| (`.*?`+) \| (\S.*) \|$", re.MULTILINE)
# What other programs say through ours: click, the C library by errno's words, and gunicorn.
FOREIGN = (
    (1, "…: No space left on device"),
    (1, "…: Input/output error"),
    (1, "…: Read-only file system"),
    (1, "…: Permission denied"),
    (1, "…: Address already in use"),
    (2, "…: No such file or directory"),
    (2, "No such option: …"),
    (2, "No such command …"),
    (2, "Missing argument …"),
    (2, "Invalid value for …"),
)
FEWEST_LETTERS = 5
# Nobody reads them: the build side's, the base, and what ends a request that nobody waits for.
NO_MESSAGE = (
    "CollectError",
    "BadSetting",
    "LastAdministrator",
    "Cancelled",
    "DirectoryAway",
    "UnknownFact",
    "NoKernels",
    "UnknownShape",
)


@cache
def messages() -> list[Message]:
    foreign = [Message(code, text, "another program") for code, text in FOREIGN]
    return [*error_messages.collect(ROOT), *foreign]


def entries(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the exit status and the words of each message on a page; status 0 for an answer over HTTP."""
    for section in page.read_text().split("\n## ")[1:]:
        status = re.match(r"\D*(\d) ?[:：]", section.partition("\n")[0])
        for cell, _ in ROW.findall(section):
            for words in re.findall(r"(`+)(.+?)\1", cell):
                yield int(status[1]) if status else 0, words[1].strip()


def explains(entry: tuple[int, str], message: Message) -> bool:
    """Tell whether an entry is about a message: its `…` stands for anything, so enough else has to stand there."""
    if entry[0] != message.exit_code:
        return False
    wanted = pattern(entry[1])
    return entry[1] == message.text or (wanted is not None and wanted.fullmatch(message.text) is not None)


@cache
def pattern(words: str) -> re.Pattern[str] | None:
    """Return what an entry matches; None where too little of it is no gap."""
    letters = len(re.findall(r"[A-Za-z]", words))
    return re.compile(".*".join(map(re.escape, words.split("…")))) if letters >= FEWEST_LETTERS else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_message_is_explained(page: Path) -> None:
    known = list(entries(page))
    silent = [one for one in messages() if not any(explains(entry, one) for entry in known)]
    assert [f"{one.exit_code}: {one.text}   ({one.place})" for one in silent] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_message_is_explained_that_nothing_can_say(page: Path) -> None:
    idle = [entry for entry in entries(page) if not any(explains(entry, one) for one in messages())]
    assert idle == []


def test_both_languages_explain_the_same_messages_in_the_same_order() -> None:
    english, chinese = ([cell for cell, _ in ROW.findall(page.read_text())] for page in PAGES)
    assert len(english) > 80 and chinese == english


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_check_is_explained_with_its_weight(page: Path) -> None:
    weights = {"must": "FAIL", "advice": "note"}
    asked = {question.name: weights[question.severity] for question in (*SERVICE, *preflight.QUESTIONS)}
    rows = re.findall(r"^\| (\*.*?\*) \| (FAIL|note) \| \S.* \|$", page.read_text(), re.MULTILINE)
    explained = [(name, weight) for cell, weight in rows for name in re.findall(r"\*(.+?)\*", cell)]
    assert len(dict(explained)) == len(explained) and dict(explained) == asked


def test_every_class_of_errors_is_collected() -> None:
    """Another child of FerryError, or an exception with a hint, would bring messages that nobody looks for."""
    known = {*error_messages.EXIT_CODES, *NO_MESSAGE}
    assert [name for name in error_messages.exceptions(ROOT) if name not in known] == []


def test_each_row_is_one_line_with_a_remedy() -> None:
    for page in PAGES:
        rows = [line for line in page.read_text().splitlines() if line.startswith("| `")]
        assert rows and [line for line in rows if not ROW.fullmatch(line)] == []


def test_a_new_message_would_be_noticed(tmp_path: Path) -> None:
    """The collector sees each way in which the sources make a message."""
    module = tmp_path / "installer" / "new.py"
    module.parent.mkdir()
    module.with_name("install.sh").write_text(
        'fail 4 "no $1 in ${TMPDIR:-/tmp}" "hint"\nrefuse "$path: a $(kind) one" \'x\'\n'
    )
    module.write_text("""
NAME = "ferry.toml"

def plain(path):
    raise IntegrityError(f"{NAME}: {path} is new", "hint")

def one_of_two(is_new):
    raise UsageError("a new one" if is_new else f"an old {is_new:.1f} one", "hint")

def helper(what):
    return HostError(f"cannot: {what}", "hint")

def caller(number):
    raise helper(f"there are {number}")

def lines(paths):
    found = [f"{path}: lost" for path in paths]
    raise FerryError("\\n".join(found), "hint")
""")
    assert {(one.exit_code, one.text) for one in error_messages.collect(tmp_path)} == {
        (3, "ferry.toml: … is new"),
        (2, "a new one"),
        (2, "an old … one"),
        (4, "cannot: there are …"),
        (1, "…: lost"),
        (4, "no … in …"),
        (3, "…: a … one"),
    }

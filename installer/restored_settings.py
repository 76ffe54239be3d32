"""The ferry.toml of a backup, made to fit the server that it is restored on: texts come in, a text and notes go out.

The settings are the backup's, but for what is this server's own affair: where it listens (its users and its proxy come
there, and another server has other addresses), and how many trusted keys it asks for. Whom a server trusts is never
taken from a file that was carried to it.
"""

import re

from checksums.errors import FerryError, HostError
from installer import settings


def adapted(restored: str, here: str | None) -> tuple[str, list[str]]:
    """Return the text to put in place and what the operator has to know of it; `here` is the server's own, if any.

    Raises:
        HostError: the backup's text has a threshold in a form that cannot be relied upon.
    """
    if here is None:
        return restored, []
    text, notes = _listening(restored, here)
    text, more = _asking(text, here)
    return text, notes + more


def _listening(restored: str, here: str) -> tuple[str, list[str]]:
    theirs, ours = (settings.LISTEN_LINE.search(text) for text in (restored, here))
    if not theirs or not ours or theirs["address"] == ours["address"]:
        return restored, []
    text = restored[: theirs.start()] + ours[0] + restored[theirs.end() :]
    return text, [f"this server goes on listening on {ours['address']}; the backup's was on {theirs['address']}"]


def _asking(restored: str, here: str) -> tuple[str, list[str]]:
    theirs = settings.threshold_in(restored.encode(), "the backup's ferry.toml")
    try:
        ours = settings.threshold_in(here.encode(), "ferry.toml")
    except FerryError:
        return restored, [f"[trust] threshold is the backup's, {theirs}: this server's could not be read"]
    if theirs == ours:
        return restored, []
    text = _with_threshold(restored, ours)
    if settings.threshold_in(text.encode(), "the backup's ferry.toml") != ours:
        raise HostError("the backup's ferry.toml: cannot be given this server's [trust] threshold", "see --dry-run")
    return text, [f"[trust] threshold stays {ours}; the backup's was {theirs}"]


def _with_threshold(text: str, threshold: int) -> str:
    lines, is_trust, header = text.split("\n"), False, 0
    for number, line in enumerate(lines):
        if settings.ANY_SECTION.match(line):
            is_trust = bool(settings.TRUST_SECTION.match(line))
            header = number + 1 if is_trust else header
        elif is_trust and settings.THRESHOLD_LINE.match(line):
            lines[number] = re.sub("[0-9]+", str(threshold), line, count=1)
            return "\n".join(lines)
    if header:
        return "\n".join([*lines[:header], f"threshold = {threshold}", *lines[header:]])
    return f"{text.rstrip()}\n\n[trust]\nthreshold = {threshold}\n"

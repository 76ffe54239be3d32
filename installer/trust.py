"""Whose bundles this server takes: the list of keys is shown, added to, taken from, and replaced when a bundle asks.

Texts come in, a `Change` goes out; `carry_out` writes it under the installation's lock. Comments and lines that are not
touched stay as they are. A change that would leave fewer keys than the threshold asks for is refused.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checksums import quorum, signers
from checksums.errors import FerryError, UsageError
from checksums.layout import NEXT_SIGNERS
from checksums.signers import Signer
from installer import files, lock, settings
from installer.places import Places
from installer.release import installed_path


@dataclass(frozen=True)
class Change:
    """The list before and after, as bytes, and the keys that the one has and the other has not."""

    before: bytes
    after: bytes
    added: tuple[Signer, ...]
    removed: tuple[Signer, ...]

    @property
    def is_any(self) -> bool:
        """Say whether another key counts afterwards, or one counts otherwise."""
        return bool(self.added or self.removed)


def read(places: Places) -> bytes:
    """Return the server's list, empty where it has none."""
    try:
        return places.allowed_signers.read_bytes()
    except FileNotFoundError:
        return b""


def offered(path: Path) -> bytes:
    """Return the content of a list that somebody offers.

    Raises:
        UsageError: there is no such file, or it is no list.
    """
    data = quorum.read_list(path, "give a list of keys: ferry trust add FILE")
    if not signers.parse(data, str(path)):
        raise UsageError(f"{path}: holds no key", signers.FORM)
    return data


def listing(places: Places) -> dict[str, Any]:
    """Return every key of the list, whether it counts now and if not why, and the threshold."""
    at = quorum.now()
    found = signers.parse(read(places), str(places.allowed_signers))
    return {"threshold": settings.threshold_of(places, None), "keys": [described(signer, at) for signer in found]}


def described(signer: Signer, at: str) -> dict[str, Any]:
    """Return one key as an object of JSON; dates are UTC."""
    why = signer.why_not(at)
    return {
        "fingerprint": signer.fingerprint,
        "type": signer.kind,
        "comment": signer.comment,
        "valid_after": readable(signer.valid_after),
        "valid_before": readable(signer.valid_before),
        "counts": not why,
        "why": why,
    }


def lines(made: Change) -> list[str]:
    """Return a change for a person, one key a line."""
    marked = [("remove", signer) for signer in made.removed] + [("add", signer) for signer in made.added]
    return [f"  {verb:6} {_shown(signer)}" for verb, signer in marked]


def _shown(signer: Signer) -> str:
    limits = [
        f"{word} {readable(at)}" for word, at in (("from", signer.valid_after), ("until", signer.valid_before)) if at
    ]
    return " ".join([signer.fingerprint, f"({signer.kind})", *limits, signer.comment]).rstrip()


def readable(digits: str) -> str | None:
    """Return 14 digits as people write a time; None for no time."""
    return re.sub(r"(....)(..)(..)(..)(..)(..)", r"\1-\2-\3 \4:\5:\6 UTC", digits) or None


def adding(before: bytes, more: bytes) -> Change:
    """Add the keys of another list; a key that is there already gets the other list's line."""
    there = {_terms(signer) for signer in signers.parse(before, "the list")}
    wanted = [signer for signer in signers.parse(more, "the new list") if _terms(signer) not in there]
    theirs = signers.plain(more).split(b"\n")
    kept = _without(before, {signer.fingerprint for signer in wanted})
    end = b"\n" if kept and not kept.endswith(b"\n") else b""
    return change(before, kept + end + b"".join(theirs[signer.line - 1] + b"\n" for signer in wanted))


def revoking(before: bytes, fingerprint: str) -> Change:
    """Take every line of one key out.

    Raises:
        UsageError: the list has no such key.
    """
    wanted = {fingerprint if fingerprint.startswith("SHA256:") else f"SHA256:{fingerprint}"}
    if not wanted & {signer.fingerprint for signer in signers.parse(before, "the list")}:
        raise UsageError(f"{fingerprint}: no such key in the list", "see the keys: ferry trust list")
    return change(before, _without(before, wanted))


def change(before: bytes, after: bytes) -> Change:
    """Compare two lists by what each says of its keys."""
    old, new = signers.parse(before, "the list"), signers.parse(after, "the new list")
    was, will = {_terms(signer) for signer in old}, {_terms(signer) for signer in new}
    added = tuple(signer for signer in new if _terms(signer) not in was)
    return Change(before, after, added, tuple(signer for signer in old if _terms(signer) not in will))


def demand_enough(made: Change, threshold: int) -> None:
    """Refuse a change after which this server could take no bundle at all.

    Raises:
        FerryError: fewer keys would count now than the threshold asks for.
    """
    at = quorum.now()
    left = signers.counting(signers.parse(made.after, "the new list"), at)
    if len(left) < threshold:
        raise FerryError(
            f"keys that would count: {len(left)}; this server asks for {threshold}: it could take no bundle at all",
            "add another key first: ferry trust add FILE",
        )


def carry_out(places: Places, make: Callable[[bytes], Change], agree: Callable[[Change], bool]) -> tuple[Change, bool]:
    """Change the list, alone; `agree` is shown the change before. Return it and whether it was made.

    Raises:
        FerryError: somebody else is changing the installation, or too few keys would be left.
    """
    with lock.exclusive(places.prefix):
        made = make(read(places))
        demand_enough(made, settings.threshold_of(places, None))
        is_wanted = made.is_any and agree(made)
        if is_wanted:
            write(places, made)
    return made, is_wanted


def write(places: Places, made: Change) -> None:
    """Put the list in its place, whole; the lock is the caller's."""
    files.write(places.allowed_signers, made.after)


def next_signers(release: Path) -> Path:
    """Return where a release has the list that its bundle brought."""
    return release / installed_path(NEXT_SIGNERS)


def _terms(signer: Signer) -> tuple[str, ...]:
    return signer.principals, signer.namespaces, signer.fingerprint, signer.valid_after, signer.valid_before


def _without(data: bytes, fingerprints: set[str]) -> bytes:
    gone = {signer.line for signer in signers.parse(data, "the list") if signer.fingerprint in fingerprints}
    return b"\n".join(line for number, line in enumerate(data.split(b"\n"), 1) if number not in gone)

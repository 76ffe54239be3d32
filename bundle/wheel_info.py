"""What a wheel says of itself: its licence, its licence texts, the size it unpacks to. Reads the zip, runs nothing.

Fields: core metadata specification, License-Expression (PEP 639) and its predecessors.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import BinaryIO

from bundle import wheel_zip
from bundle.wheel_zip import Member, NotPlainError
from checksums.errors import IntegrityError

METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
LICENCE_FILE = re.compile(
    r"[^/]+\.dist-info/(?:licen[sc]es/.+|(?:licen[sc]e|copying|notice|authors)[^/]*)", re.IGNORECASE
)
UNSAFE = re.compile(r"[^A-Za-z0-9_.+@=,()-]+")
MAX_ONE_LINE = 100
MAX_TEXT_BYTES = 1 << 24
UNKNOWN = "unknown"


@dataclass(frozen=True)
class WheelInfo:
    """Licence in one line, texts by their path below dist-info, bytes unpacked, and bytes of Python source in them."""

    license: str
    license_texts: dict[str, bytes]
    unpacked_bytes: int
    source_bytes: int


def read(wheel: Path) -> WheelInfo:
    """Read a wheel's facts.

    Raises:
        IntegrityError: it is no wheel, or holds texts of licences that nobody could read.
    """
    try:
        with wheel.open("rb") as file:
            members = wheel_zip.read_members(file)
            metadata = next(member for member in members if METADATA.fullmatch(member.name))
            licences = [member for member in members if LICENCE_FILE.fullmatch(member.name) and not member.is_folder]
            stated = wheel_zip.read(file, metadata, MAX_TEXT_BYTES).decode("utf-8", "replace")
            return WheelInfo(
                license=licence_of(stated),
                license_texts=_texts(file, licences),
                unpacked_bytes=sum(member.size_bytes for member in members),
                source_bytes=sum(member.size_bytes for member in members if member.name.endswith(".py")),
            )
    except (NotPlainError, StopIteration) as error:
        fault = str(error) or "no METADATA"
        raise IntegrityError(
            f"{wheel.name}: not a wheel: {fault}", "remove it from the cache and build again"
        ) from error


def licence_of(metadata: str) -> str:
    """Return the licence that METADATA states, in one line; "unknown" when it states none."""
    fields = HeaderParser().parsestr(metadata)
    classifiers = [str(value) for value in fields.get_all("Classifier", [])]
    named = [value.rpartition(" :: ")[2] for value in classifiers if value.startswith("License :: ")]
    stated = str(fields.get("License", "")).strip()
    if "\n" in stated or len(stated) > MAX_ONE_LINE or stated.upper() == "UNKNOWN":
        stated = ""
    found = str(fields.get("License-Expression", "")).strip() or stated or ", ".join(named) or UNKNOWN
    return "".join(letter if letter.isprintable() else " " for letter in found)


def _texts(file: BinaryIO, licences: Iterable[Member]) -> dict[str, bytes]:
    """Return the texts by names that any file system tells apart."""
    texts: dict[str, bytes] = {}
    taken: set[str] = set()
    for member in licences:
        name = _text_name(member.name)
        while name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        texts[name] = wheel_zip.read(file, member, MAX_TEXT_BYTES)
    return texts


def _text_name(path: str) -> str:
    """Return a path that any file system takes, below the wheel's own folder of licences."""
    inside = path.partition("/")[2]
    parts = re.sub(r"^licen[sc]es/", "", inside, flags=re.IGNORECASE).split("/")
    return "/".join(UNSAFE.sub("_", part).lstrip("-.") or "_" for part in parts)

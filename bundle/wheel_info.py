"""What a wheel says of itself: its licence, its licence texts, the size it unpacks to. Reads the zip, runs nothing.

Fields: core metadata specification, License-Expression (PEP 639) and its predecessors.
"""

import re
import zipfile
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from checksums.errors import IntegrityError

METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
LICENCE_FILE = re.compile(
    r"[^/]+\.dist-info/(?:licen[sc]es/.+|(?:licen[sc]e|copying|notice|authors)[^/]*)", re.IGNORECASE
)
UNSAFE = re.compile(r"[^A-Za-z0-9_.+@=,()-]+")
MAX_ONE_LINE = 100
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
        IntegrityError: it is no wheel.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            entries = archive.infolist()
            metadata = next(entry for entry in entries if METADATA.fullmatch(entry.filename))
            texts = {_text_name(entry.filename): archive.read(entry) for entry in entries if _is_licence(entry)}
            return WheelInfo(
                license=licence_of(archive.read(metadata).decode("utf-8", "replace")),
                license_texts=texts,
                unpacked_bytes=sum(entry.file_size for entry in entries),
                source_bytes=sum(entry.file_size for entry in entries if entry.filename.endswith(".py")),
            )
    except (zipfile.BadZipFile, StopIteration) as error:
        raise IntegrityError(f"{wheel.name}: not a wheel", "remove it from the cache and build again") from error


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


def _is_licence(entry: zipfile.ZipInfo) -> bool:
    return bool(LICENCE_FILE.fullmatch(entry.filename)) and not entry.is_dir()


def _text_name(path: str) -> str:
    """Return a path that any file system takes, below the wheel's own folder of licences."""
    inside = path.partition("/")[2]
    parts = re.sub(r"^licen[sc]es/", "", inside, flags=re.IGNORECASE).split("/")
    return "/".join(UNSAFE.sub("_", part).lstrip("-.") or "_" for part in parts)

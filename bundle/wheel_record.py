"""A wheel's RECORD against its content: every file is listed once, with a digest and a size that hold.

Installers do not look (pypa/pip#4705). Format: packaging.python.org, "Recording installed projects" and "Binary
distribution format": SHA-256 or better; RECORD itself, and signatures made from it, have no digest.
"""

import base64
import csv
import hashlib
import io
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from bundle import wheel_zip
from bundle.wheel_zip import Member, NotPlainError

ALGORITHMS = ("sha256", "sha384", "sha512")
SIGNATURES = ("RECORD.jws", "RECORD.p7s")


@dataclass(frozen=True)
class Row:
    """What RECORD says of one file: "sha256=…" in URL-safe base64 without padding, and its size, each "" for none."""

    digest: str
    size: str


def parse(data: bytes) -> tuple[dict[str, Row], list[str]]:
    """Return path -> row, and the faults of the text itself."""
    rows: dict[str, Row] = {}
    faults = []
    try:
        for row in csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True):
            if len(row) != 3:
                faults.append(f"RECORD: {','.join(row)[:80]!r} is not a path, a digest and a size")
            elif row[0] in rows:
                faults.append(f"{row[0]}: twice in RECORD")
            else:
                rows[row[0]] = Row(row[1], row[2])
    except (UnicodeDecodeError, csv.Error) as error:
        faults.append(f"RECORD: not a list in UTF-8: {error}")
    return rows, faults


def list_faults(rows: Mapping[str, Row], files: Mapping[str, Member], folder: str) -> Iterator[str]:
    """Say which files are not listed, are listed and not there, or are listed in a way that proves nothing."""
    unproved = {f"{folder}/{name}" for name in ("RECORD", *SIGNATURES)}
    yield from (f"{path}: listed in RECORD, and not in the wheel" for path in rows if path not in files)
    yield from (f"{path}: not listed in RECORD" for path in files if path not in rows and path not in unproved)
    for path in rows.keys() & files.keys():
        row, member = rows[path], files[path]
        algorithm, _, digest = row.digest.partition("=")
        if path in unproved:
            if row != Row("", ""):
                yield f"{path}: RECORD states a digest that cannot be"
        elif algorithm not in ALGORITHMS or not digest:
            yield f"{path}: RECORD has no SHA-256 or better for it"
        elif row.size and row.size != str(member.size_bytes):
            yield f"{path}: {member.size_bytes} bytes, and RECORD says {row.size[:40]}"


def content_faults(
    file: BinaryIO, members: Collection[Member], rows: Mapping[str, Row], update: Callable[[int], object]
) -> Iterator[str]:
    """Unpack every member in passing and say whose content is not what RECORD says; `update` is told packed bytes."""
    for member in members:
        row = rows.get(member.name, Row("", ""))
        algorithm = row.digest.partition("=")[0]
        try:
            if found := _difference(file, member, algorithm, row.digest):
                yield found
        except NotPlainError as error:
            yield f"{member.name}: {error}"
        update(member.packed_bytes)


def _difference(file: BinaryIO, member: Member, algorithm: str, stated: str) -> str:
    hasher = hashlib.new(algorithm) if algorithm else None
    for block in wheel_zip.blocks(file, member):
        if hasher:
            hasher.update(block)
    if hasher and f"{algorithm}={_text(hasher.digest())}" != stated:
        return f"{member.name}: its {algorithm} differs from RECORD"
    return ""


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")

"""What the verified wheels put into an environment: a release's wheels come in, a `WheelFile` for each file goes out.

Read from the RECORD in each wheel, not from what uv wrote; so the list of an environment is rooted in what was signed.
Format: packaging.python.org, "Recording installed projects" and "Binary distribution format".
"""

import base64
import binascii
import csv
import io
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from checksums.errors import IntegrityError
from checksums.manifest import Manifest
from installer.release import installed_path
from installer.trees import Entry

RECORD = re.compile(r"[^/]+\.dist-info/RECORD")
DATA = re.compile(r"[^/]+\.data/(?P<scheme>purelib|platlib|scripts|headers|data)/(?P<path>.+)")
# uv writes the environment's own Python into the first line of such a script.
SHEBANG = b"#!python"
REBUILD = "install the bundle again: sh install.sh ferry-….tar"


@dataclass(frozen=True)
class WheelFile:
    """A file that a wheel brings and an installer leaves as it is: its path in the environment, and as which member."""

    path: str
    sha256: str
    wheel: Path
    member: str
    size_bytes: int


def of(manifest: Manifest, release: Path) -> list[WheelFile]:
    """Return what all the wheels of a release bring."""
    python = manifest.target.python
    return [file for wheel in manifest.wheels for file in _files(release / installed_path(wheel.file), python)]


def check(files: Sequence[WheelFile], entries: Mapping[str, Entry]) -> None:
    """Compare what stands in an environment with what the wheels have.

    Raises:
        IntegrityError: a file of a wheel is missing or has other bytes; the first few are named.
    """
    wanted: dict[str, set[str]] = {}
    for file in files:
        # Two wheels may bring one path: the one that was installed last stands there.
        wanted.setdefault(file.path, set()).add(file.sha256)
    wrong = [path for path, digests in wanted.items() if path not in entries or entries[path].content not in digests]
    if wrong:
        raise IntegrityError(f"not what its wheel has: {', '.join(sorted(wrong)[:5])}", REBUILD)


def _files(wheel: Path, python: str) -> Iterator[WheelFile]:
    with zipfile.ZipFile(wheel) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        record = next((name for name in sizes if RECORD.fullmatch(name)), None)
        if record is None:
            raise IntegrityError(f"{wheel.name}: has no RECORD", REBUILD)
        for member, digest in _rows(archive.read(record)):
            found = DATA.fullmatch(member)
            scheme = found["scheme"] if found else "purelib"
            if scheme == "headers" or (scheme == "scripts" and _is_rewritten(archive, member)):
                continue
            folder = {"scripts": "bin/", "data": ""}.get(scheme, f"lib/python{python}/site-packages/")
            path = f"{folder}{found['path'] if found else member}"
            yield WheelFile(path, digest, wheel, member, sizes.get(member, 0))


def _rows(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield (path, SHA-256 in hexadecimal) of a RECORD; itself, and what has a longer digest, are left aside.

    So is bytecode: where its source is newer, it is compiled again.
    """
    for row in csv.reader(io.StringIO(data.decode(), newline="")):
        path, algorithm, digest = row[0], *row[1].partition("=")[::2]
        if algorithm == "sha256" and not path.endswith(".pyc"):
            try:
                yield path, base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4)).hex()
            except binascii.Error as error:
                raise IntegrityError(f"{path[:80]!r}: its RECORD has a digest that is none", REBUILD) from error


def _is_rewritten(archive: zipfile.ZipFile, path: str) -> bool:
    with archive.open(path) as file:
        return file.read(len(SHEBANG)) == SHEBANG

"""What the verified wheels put into an environment: a release's wheels come in, path -> SHA-256 of each file goes out.

Read from the RECORD in each wheel, not from what uv wrote; so the list of an environment is rooted in what was signed.
Format: packaging.python.org, "Recording installed projects" and "Binary distribution format".
"""

import base64
import binascii
import csv
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
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


def check(manifest: Manifest, release: Path, entries: Mapping[str, Entry]) -> None:
    """Compare what stands in an environment with what the wheels have.

    Raises:
        IntegrityError: a file of a wheel is missing or has other bytes; the first few are named.
    """
    wanted: dict[str, set[str]] = {}
    for wheel in manifest.wheels:
        for path, digest in _files(release / installed_path(wheel.file), manifest.target.python):
            # Two wheels may bring one path: the one that was installed last stands there.
            wanted.setdefault(path, set()).add(digest)
    wrong = [path for path, digests in wanted.items() if path not in entries or entries[path].content not in digests]
    if wrong:
        raise IntegrityError(f"not what its wheel has: {', '.join(sorted(wrong)[:5])}", REBUILD)


def _files(wheel: Path, python: str) -> Iterator[tuple[str, str]]:
    """Yield (path in the environment, SHA-256) of what a wheel brings and an installer leaves as it is."""
    with zipfile.ZipFile(wheel) as archive:
        record = next((name for name in archive.namelist() if RECORD.fullmatch(name)), None)
        if record is None:
            raise IntegrityError(f"{wheel.name}: has no RECORD", REBUILD)
        for path, digest in _rows(archive.read(record)):
            found = DATA.fullmatch(path)
            scheme = found["scheme"] if found else "purelib"
            if scheme == "headers" or (scheme == "scripts" and _is_rewritten(archive, path)):
                continue
            folder = {"scripts": "bin/", "data": ""}.get(scheme, f"lib/python{python}/site-packages/")
            yield f"{folder}{found['path'] if found else path}", digest


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

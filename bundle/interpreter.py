"""The Python that travels: a profile's choice and target go in, an archive that may be carried comes out, or none.

"standalone" is the pinned python-build-standalone archive (bundle/pins.py), kept in the cache by its digest; "archive"
is a file of one's own. Whichever it is, the gate looks through it before it is packed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bundle import cache, fetch, interpreter_gate, pins
from bundle.artifacts import Artifact, of_bytes
from bundle.profiles import PythonChoice
from bundle.progress import Progress
from checksums.errors import IntegrityError, UsageError
from checksums.hashing import sha256_file
from checksums.layout import INTERPRETER_FOLDER
from checksums.manifest import Target

# install.sh reads the tar header's 100 bytes for payload/python/NAME.
NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._+-]{0,77}\.(tar\.gz|tgz)")
LICENSE = "PSF-2.0"


@dataclass(frozen=True)
class Interpreter:
    """An archive that may be carried: its file, name in the bundle, exact version, digest and licences.

    `license_texts` go below licenses/python/; `unpacked_bytes` and `source_bytes` (of .py files) are what it takes.
    """

    file: Path
    name: str
    version: str
    size_bytes: int
    sha256: str
    license: str
    unpacked_bytes: int
    source_bytes: int
    license_texts: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True)
class Planned:
    """What would be carried, without fetching it: version and size are "" and 0 where only the archive tells."""

    source: str
    name: str
    version: str
    sha256: str
    size_bytes: int
    origin: str


def plan(choice: PythonChoice, target: Target) -> Planned | None:
    """Say which archive would be carried, offline.

    Raises:
        CollectError: none is pinned for the target.
        IntegrityError, UsageError: as `collect` says of an archive of one's own.
    """
    if choice.source == "standalone":
        pin = pins.find(target)
        held = _place(pin)
        size = held.stat().st_size if held.is_file() else 0
        return Planned(choice.source, pin.name, pin.version, pin.sha256, size, pin.url)
    if choice.source == "archive":
        found = _own(choice, target)
        return Planned(choice.source, found.name, found.version, found.sha256, found.size_bytes, "this host")
    return None


def collect(choice: PythonChoice, target: Target, progress: Progress) -> Interpreter | None:
    """Return the archive to carry, fetching the pinned one where the cache lacks it; None for the server's own Python.

    Raises:
        CollectError: it cannot be fetched.
        IntegrityError: it has another digest, is not safe to unpack, or does not fit the target.
        UsageError: there is no such file, or its name cannot stand in a bundle.
    """
    if choice.source == "standalone":
        return _standalone(pins.find(target), target, progress)
    return _own(choice, target) if choice.source == "archive" else None


def artifacts(found: Interpreter) -> list[Artifact]:
    """Return the archive and its licences as they stand in a bundle."""
    texts = [of_bytes(f"licenses/python/{path}", text) for path, text in sorted(found.license_texts.items())]
    return [Artifact(f"{INTERPRETER_FOLDER}{found.name}", found.file, found.size_bytes, found.sha256), *texts]


def _standalone(pin: pins.Pin, target: Target, progress: Progress) -> Interpreter:
    file = _place(pin)
    if not file.is_file():
        hint = f"run it again: what came is kept; or name a mirror ({pins.MIRROR}=URL), or a file: --python ARCHIVE"
        fetch.fetch(pin.url, pin.sha256, file, progress, hint)
    found = _examined(file, pin.sha256, target)
    if found.version != pin.version:
        raise IntegrityError(f"{pin.name}: holds Python {found.version}", "pin it anew: python -m bundle lock")
    return found


def _own(choice: PythonChoice, target: Target) -> Interpreter:
    file = Path(choice.file)
    if not file.is_file():
        raise UsageError(f"{file}: no such file", "name an archive: --python cpython-….tar.gz")
    if not NAME.fullmatch(file.name):
        raise UsageError(f"{file.name!r}: not a name for an interpreter archive", "rename it: cpython-….tar.gz")
    found = sha256_file(file)
    if found != choice.sha256:
        raise IntegrityError(f"{file.name}: sha256 is {found}, the profile says {choice.sha256}", "check the file")
    return _examined(file, found, target)


def _examined(file: Path, sha256: str, target: Target) -> Interpreter:
    found = interpreter_gate.examine(file, target)
    return Interpreter(
        file=file,
        name=file.name,
        version=found.version,
        size_bytes=file.stat().st_size,
        sha256=sha256,
        license=LICENSE,
        unpacked_bytes=found.unpacked_bytes,
        source_bytes=found.source_bytes,
        license_texts=found.license_texts,
    )


def _place(pin: pins.Pin) -> Path:
    return cache.folder("interpreters") / pin.sha256 / pin.name

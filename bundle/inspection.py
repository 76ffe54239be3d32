"""Looking at a finished bundle: its manifest as it stands, or the whole of it proved with the code that ships.

A bundle is one file, or its parts in any order.
"""

from collections.abc import Sequence
from pathlib import Path

from bundle.progress import Progress
from checksums.errors import IntegrityError
from checksums.layout import MANIFEST
from checksums.manifest import Manifest
from checksums.parts import explained
from checksums.tarball import TarReader
from installer.verify import (
    MAX_HEAD_BYTES,
    Discard,
    Trust,
    VerifiedBundle,
    copy_payload,
    hash_payload,
    open_bundle,
    open_file,
)


class _Collected(bytearray):
    """A sink in memory."""

    def write(self, data: memoryview, /) -> int:
        """Take the bytes."""
        self.extend(data)
        return len(data)


def read_manifest(path: Path | Sequence[Path]) -> Manifest:
    """Return a bundle's manifest, without asking who signed it.

    Raises:
        UsageError: there is no such file.
        IntegrityError: it is no bundle.
    """
    with open_file(path) as stream, explained(stream):
        reader = TarReader(stream)
        while (member := reader.next_member()) is not None:
            if member.size > MAX_HEAD_BYTES[MANIFEST]:
                raise IntegrityError(f"{member.path}: too large for a bundle's head", "check the file's name")
            sink = _Collected()
            reader.copy_to(sink)
            if member.path == MANIFEST:
                return Manifest.parse(bytes(sink))
    return Manifest.parse(b"")


def verify(path: Path | Sequence[Path], trust: Trust, progress: Progress) -> VerifiedBundle:
    """Prove a bundle's signature and every byte of it, and return its head.

    Raises:
        UsageError: there is no such file.
        IntegrityError: something differs; the message names it.
    """
    with open_file(path) as stream:
        bundle = open_bundle(stream, trust)
        with progress.bytes_bar("verifying", sum(file.size for file in bundle.payload)) as bar:
            if stream.seekable():
                hash_payload(bundle, bar.update)
            else:
                copy_payload(bundle, lambda _file: Discard(), bar.update)
    return bundle

"""Looking at a finished bundle: its manifest as it stands, or the whole of it proved with the code that ships."""

from pathlib import Path

from bundle.progress import Progress
from checksums.layout import MANIFEST
from checksums.manifest import Manifest
from checksums.tarball import TarReader
from installer.verify import Discard, Trust, VerifiedBundle, copy_payload, open_bundle, open_file


class _Collected(bytearray):
    """A sink in memory."""

    def write(self, data: memoryview, /) -> int:
        """Take the bytes."""
        self.extend(data)
        return len(data)


def read_manifest(path: Path) -> Manifest:
    """Return a bundle's manifest, without asking who signed it.

    Raises:
        UsageError: there is no such file.
        IntegrityError: it is no bundle.
    """
    with open_file(path) as stream:
        reader = TarReader(stream)
        while (member := reader.next_member()) is not None:
            sink = _Collected()
            reader.copy_to(sink)
            if member.path == MANIFEST:
                return Manifest.parse(bytes(sink))
    return Manifest.parse(b"")


def verify(path: Path, trust: Trust, progress: Progress) -> VerifiedBundle:
    """Prove a bundle's signature and every byte of it, and return its head.

    Raises:
        UsageError: there is no such file.
        IntegrityError: something differs; the message names it.
    """
    with open_file(path) as stream:
        bundle = open_bundle(stream, trust)
        with progress.bytes_bar("verifying", sum(file.size for file in bundle.payload)) as bar:
            copy_payload(bundle, lambda _file: Discard(), bar.update)
    return bundle

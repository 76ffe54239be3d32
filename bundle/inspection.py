"""Proving a finished bundle, the whole of it, with the code that ships.

A bundle is one file, or its parts in any order.
"""

from collections.abc import Sequence
from pathlib import Path

from bundle.progress import Progress
from installer.verify import (
    Discard,
    Trust,
    VerifiedBundle,
    copy_payload,
    hash_payload,
    open_bundle,
    open_file,
)


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

"""Looking into a bundle without proving anything: its head, and single texts out of it. A path comes in, values go out.

What is read is capped and nothing is written; whether it is what somebody signed is for `verify`.
"""

import hashlib
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from checksums import signature, sums
from checksums.errors import IntegrityError
from checksums.layout import MANIFEST, SUMS, signature_name
from checksums.manifest import Manifest
from checksums.parts import explained
from checksums.tarball import Member, TarReader
from installer.verify import MAX_HEAD_BYTES, Discard, open_file

MAX_TEXT_BYTES = 16 << 20
HINT = "this is no bundle of Ferry's, or it is damaged: copy it again"


@dataclass(frozen=True)
class Glance:
    """What a bundle says: its manifest, who seems to have signed (fingerprints), how many files, and texts by path."""

    manifest: Manifest
    signed_by: tuple[str, ...]
    file_count: int
    texts: Mapping[str, bytes]

    def text(self, path: str) -> str:
        """Return one text that was asked for, "" where the bundle does not carry it."""
        return self.texts.get(path, b"").decode("utf-8", "replace")


def at(path: Path | Sequence[Path], wanted: Collection[str] = ()) -> Glance:
    """Read a bundle's head and the wanted members.

    Raises:
        HostError: its format is newer than this program knows.
        IntegrityError: it is no bundle, or a wanted member is not what the manifest lists.
        UsageError: there is no such file.
    """
    with open_file(path) as stream, explained(stream):
        reader = TarReader(stream)
        head = _head(reader)
        manifest = Manifest.parse(head[MANIFEST])
        left_out = manifest.base.files if manifest.base else ()
        there = {file.path for file in manifest.files} - set(left_out)
        texts = _texts(reader, stream, manifest, there & set(wanted))
    signatures = [(name, data) for name, data in head.items() if name not in (SUMS, MANIFEST)]
    signers = dict.fromkeys(signature.parse(data, name).fingerprint for name, data in signatures)
    return Glance(manifest, tuple(signers), len(sums.parse(head[SUMS])), texts)


def _head(reader: TarReader) -> dict[str, bytes]:
    """Return the list, its signatures and the manifest, which come first and in this order."""
    head: dict[str, bytes] = {}
    while MANIFEST not in head:
        member = reader.next_member()
        allowed = {SUMS} if not head else {signature_name(len(head)), MANIFEST}
        if member is None or member.path not in allowed:
            raise IntegrityError(f"{member.path if member else 'the bundle'}: not the head of a bundle", HINT)
        head[member.path] = _read(reader, member, MAX_HEAD_BYTES.get(member.path, signature.MAX_SIGNATURE_BYTES))
    return head


def _texts(reader: TarReader, stream: BinaryIO, manifest: Manifest, wanted: set[str]) -> dict[str, bytes]:
    texts: dict[str, bytes] = {}
    while wanted - set(texts):
        member = reader.next_member()
        if member is None:
            raise IntegrityError(f"{min(wanted - set(texts))}: missing, the bundle ends before it", HINT)
        if member.path in wanted:
            texts[member.path] = _read(reader, member, MAX_TEXT_BYTES)
            _check(manifest, member.path, texts[member.path])
        elif stream.seekable():
            reader.skip()
        else:
            reader.copy_to(Discard())
    return texts


def _read(reader: TarReader, member: Member, limit_bytes: int) -> bytes:
    if member.size > limit_bytes:
        raise IntegrityError(f"{member.path}: {member.size} bytes are too many for it", HINT)
    data = io.BytesIO()
    reader.copy_to(data)
    return data.getvalue()


def _check(manifest: Manifest, path: str, data: bytes) -> None:
    listed = manifest.file(path)
    if listed is None or listed.sha256 != hashlib.sha256(data).hexdigest():
        raise IntegrityError(f"{path}: sha256 differs from the manifest", HINT)

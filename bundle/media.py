"""A bundle on media that hold no large files: cut into parts while it is written or later, and put together again.

The parts are plain slices, so that `cat` joins them too. Nothing is read twice, and nothing stands under its final name
before all of it is whole. The format of the list beside the parts: checksums/parts_list.py.
"""

import hashlib
import io
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from bundle.progress import Progress
from bundle.workshop import workshop
from checksums import parts, sums
from checksums.errors import FerryError, IntegrityError, UsageError
from checksums.hashing import OnBytes
from checksums.layout import SUMS
from checksums.new_file import NewFile
from checksums.parts import PartsReader, explained
from checksums.parts_list import MAX_PARTS, SUFFIX, Listed, PartsList, part_name
from checksums.tarball import TarReader
from installer.verify import MAX_HEAD_BYTES, Discard, open_file

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?(?:([KMGT])(i?)B?|B)?", re.IGNORECASE)
POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
MIN_PART_BYTES = 1_000_000
HINT = "for example: 4G (FAT32), 4.7G (DVD), 650MiB (CD)"


def parse_size(text: str) -> int:
    """Return the bytes of a size: plain, in powers of 1000 (K, M, G, T) or of 1024 (KiB, MiB, GiB, TiB).

    4G is 4,000,000,000: FAT32 holds files up to 4,294,967,295 bytes.

    Raises:
        UsageError: it is no size, or too small for a part.
    """
    found = SIZE.fullmatch(text.strip())
    if not found:
        raise UsageError(f"{text!r}: not a size", HINT)
    factor = (1024 if found[3] else 1000) ** POWERS[(found[2] or "").upper()]
    size = int(Decimal(found[1]) * factor)
    if size < MIN_PART_BYTES:
        raise UsageError(f"{text}: a part holds at least {MIN_PART_BYTES} bytes", HINT)
    return size


def check_count(size_bytes: int, part_bytes: int) -> None:
    """Refuse, before anything is written, a split into more parts than three digits can number."""
    if -(-size_bytes // part_bytes) > MAX_PARTS:
        smallest = -(-size_bytes // MAX_PARTS)
        raise UsageError(
            f"{size_bytes} bytes are more than {MAX_PARTS} parts of {part_bytes}", f"give at least --size {smallest}"
        )


class PartsWriter(io.RawIOBase):
    """Takes a bundle's bytes and writes them as `X.tar.001`, `.002`, …; `finish` adds the list."""

    def __init__(self, bundle: Path, part_bytes: int) -> None:
        super().__init__()
        self.bundle = bundle
        self.part_bytes = part_bytes
        self.listed: list[Listed] = []
        self._file: NewFile | None = None
        self._digest = hashlib.sha256()
        self._size = 0

    def writable(self) -> bool:
        """Say that it can be written."""
        return True

    def write(self, data: "ReadableBuffer", /) -> int:
        """Take all of `data`."""
        view = memoryview(data).cast("B")
        for start in self._cuts(len(view)):
            piece = view[start : start + self.part_bytes - self._size]
            if self._file is None:
                name = part_name(self.bundle.name, len(self.listed) + 1)
                self._file = NewFile(self.bundle.with_name(name))
            self._file.write(piece)
            self._digest.update(piece)
            self._size += len(piece)
            if self._size == self.part_bytes:
                self._end_part()
        return len(view)

    def finish(self) -> None:
        """End the last part and write the list."""
        self._end_part()
        name = self.bundle.name
        self.bundle.with_name(f"{name}{SUFFIX}").write_bytes(PartsList(name, tuple(self.listed)).render())

    def close(self) -> None:
        """Close the part that is open."""
        if self._file:
            self._file.close()
        super().close()

    def _cuts(self, size: int) -> Iterator[int]:
        """Yield where the pieces of `size` further bytes begin, each up to the end of its part."""
        at = 0
        while at < size:
            step = self.part_bytes - self._size
            yield at
            at += step

    def _end_part(self) -> None:
        if self._file:
            self._file.close()
            self.listed.append(Listed(self._size, self._digest.hexdigest()))
        self._file, self._digest, self._size = None, hashlib.sha256(), 0


@contextmanager
def writing(bundle: Path, part_bytes: int | None) -> Iterator[BinaryIO]:
    """Open a bundle to write it whole, or as parts under its name."""
    if not part_bytes:
        with NewFile(bundle) as file:
            yield cast(BinaryIO, file)
        return
    with PartsWriter(bundle, part_bytes) as writer:
        yield cast(BinaryIO, writer)
        writer.finish()


def split(bundle: Path, part_bytes: int, out: Path, progress: Progress) -> list[Path]:
    """Cut a bundle into parts in `out`, comparing every file in it with its own list on the way; return them.

    Raises:
        UsageError: there is no such bundle, or it would be too many parts.
        IntegrityError: it is no bundle, or it is damaged.
    """
    if parts.is_part(bundle) or not bundle.name.endswith(".tar"):
        raise UsageError(f"{bundle}: not called like a bundle", "give the path of a ferry-….tar")
    with open_file(bundle) as stream, workshop(out, ".splitting-") as folder:
        size = bundle.stat().st_size
        check_count(size, part_bytes)
        check_room(out, size)
        with writing(folder / bundle.name, part_bytes) as target, progress.bytes_bar("splitting", size) as bar:
            _copy(stream, target, bar.update)
        return publish(folder, out, bundle.name)


def join(paths: Sequence[Path], out: Path, progress: Progress) -> Path:
    """Put the parts of a bundle together in `out`, comparing parts and files with their digests on the way.

    Raises:
        UsageError: a path is no part.
        IntegrityError: a part is damaged or missing; all that can be found out are named.
    """
    found = parts.find(paths)
    name, size = found[0].name.rpartition(".")[0], sum(part.size for part in found)
    with PartsReader(found) as reader, workshop(out, ".joining-") as folder:
        check_room(out, size)
        stream = cast(BinaryIO, reader)
        with (
            writing(folder / name, None) as target,
            progress.bytes_bar("joining", size) as bar,
            explained(stream),
        ):
            _copy(stream, target, bar.update)
            if reader.faults:
                raise IntegrityError(f"the files in it are whole; if the parts are, {name}{SUFFIX} is damaged")
        synced(folder / name)
        (folder / name).replace(out / name)
    return out / name


class _Tee(io.RawIOBase):
    """Reads from one stream and writes what was read to another."""

    def __init__(self, source: BinaryIO, target: BinaryIO, on_bytes: OnBytes) -> None:
        super().__init__()
        self.source = source
        self.target = target
        self.on_bytes = on_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.source.read(len(view))
        view[: len(data)] = data
        self.target.write(data)
        self.on_bytes(len(data))
        return len(data)


def _copy(source: BinaryIO, target: BinaryIO, on_bytes: OnBytes) -> None:
    """Copy a bundle, comparing its members with its own SHA256SUMS: this finds damage, not forgery."""
    reader = TarReader(cast(BinaryIO, _Tee(source, target, on_bytes)))
    member = reader.next_member()
    if member is None or member.path != SUMS or member.size > MAX_HEAD_BYTES[SUMS]:
        raise IntegrityError(f"not a bundle: {SUMS} does not stand first", "check that the right file was given")
    text = io.BytesIO()
    reader.copy_to(text)
    digests = sums.parse(text.getvalue())
    damaged = []
    while (member := reader.next_member()) is not None:
        digest = reader.copy_to(Discard())
        if not member.path.startswith(f"{SUMS}.") and digests.pop(member.path, "") != digest:
            damaged.append(f"{member.path}: sha256 differs from {SUMS}{parts.holding(source, member.size)}")
    damaged += [f"{path}: missing" for path in digests]
    if damaged:
        raise IntegrityError("\n".join(damaged), "copy the bundle again from where it was made")


def publish(folder: Path, out: Path, name: str) -> list[Path]:
    """Move the parts of a bundle from `folder` to their places in `out`, the list last; return them.

    What an earlier split left there under the same name goes first: parts of two bundles never lie together.
    """
    made = sorted((path for path in folder.iterdir() if path.name.startswith(f"{name}.")), key=_list_last)
    for path in made:
        synced(path)
    remove(out, name)
    return [path.replace(out / path.name) for path in made]


def remove(out: Path, name: str) -> None:
    """Remove the parts of a bundle, and their list, from a folder."""
    for stale in (f"{name}{SUFFIX}", *(part_name(name, number) for number in range(1, MAX_PARTS + 1))):
        (out / stale).unlink(missing_ok=True)


def synced(path: Path) -> None:
    """Force a finished file to the disk, readable by everybody."""
    path.chmod(0o644)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _list_last(path: Path) -> tuple[bool, str]:
    return path.name.endswith(SUFFIX), path.name


def check_room(out: Path, size_bytes: int) -> None:
    """Refuse, before anything is written, what the folder's disk cannot hold."""
    free = shutil.disk_usage(out).free
    if free < size_bytes:
        text = f"{out}: {free / 1e6:,.0f} MB are free, {size_bytes / 1e6:,.0f} MB are needed"
        raise FerryError(text, "free some space, or give a folder on another disk: --out DIR")

"""A wheel's zip, read so that no two readers can see two contents in it. A file comes in, plain members go out.

Refused: whatever `zipfile` and uv's reader could take in two ways. The members fill the archive from its first byte to
its directory, in both headers they are called and measured alike, nothing is encrypted, linked or packed beyond reason.
Format: PKWARE's APPNOTE.TXT, 4.3 (headers) and 4.4 (fields); zip64 is for what no wheel is.
"""

import os
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from bundle import wheel_paths

END = struct.Struct("<4s4H2LH")
CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
END_MARK, CENTRAL_MARK, LOCAL_MARK = b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"
DESCRIPTOR_MARK, ZIP64_LOCATOR = b"PK\x07\x08", b"PK\x06\x07"
ZIP64_LOCATOR_BYTES = 20
STORED, DEFLATED = 0, 8
# How hard it was packed (bits 1 and 2), sizes behind the data, names in UTF-8: the flags that change nothing else.
HAS_DESCRIPTOR, IS_UTF8 = 0x0008, 0x0800
FLAGS = 0x0006 | HAS_DESCRIPTOR | IS_UTF8
# Times and owners; every other field can give a member a second name, size or key (0x7075, 0x0001, 0x9901).
EXTRA_FIELDS = {0x5455, 0x5855, 0x7875}
IS_DOS_FOLDER = 0x10
# The newest that any method needs (LZMA); readers refuse what is newer than themselves.
MAX_VERSION = 63
MAX_MEMBERS = 60_000
MAX_DIRECTORY_BYTES = 1 << 24
MAX_UNPACKED_BYTES = 8 << 30
# Deflate reaches 1,032; the most in the wheels of the locks is below 50.
MAX_RATIO, RATIO_FROM_BYTES = 250, 1 << 20
BLOCK_BYTES = 1 << 20


class NotPlainError(ValueError):
    """The archive, or a member of it, is not what every reader would take alike."""


@dataclass(frozen=True)
class Member:
    """One file: its name, where its header starts, how it is packed, its sizes, and what the directory says of it."""

    name: str
    offset: int
    flags: int
    method: int
    crc: int
    packed_bytes: int
    size_bytes: int
    attributes: int
    raw_name: bytes
    extra: bytes

    @property
    def is_folder(self) -> bool:
        """Whether it only names a folder."""
        return self.name.endswith("/")


def read_members(file: BinaryIO) -> list[Member]:
    """Return the members as the directory lists them.

    Raises:
        NotPlainError: there is no directory, or something lies before it, behind it or beside it.
    """
    size = os.fstat(file.fileno()).st_size
    tail = _at(file, max(0, size - END.size), END.size)
    if len(tail) < END.size or not tail.startswith(END_MARK):
        raise NotPlainError("not a zip, cut short, or with bytes behind its end")
    _, disk, first_disk, here, count, length, start, comment = END.unpack(tail)
    if (disk, first_disk, comment) != (0, 0, 0) or here != count or count > MAX_MEMBERS or length > MAX_DIRECTORY_BYTES:
        raise NotPlainError("its end record is of several disks, of zip64, of too many members, or has a comment")
    locator = _at(file, max(0, size - END.size - ZIP64_LOCATOR_BYTES), 4)
    if start + length + END.size != size or locator == ZIP64_LOCATOR:
        raise NotPlainError("its directory does not end at its end record: something was put before it or between")
    members = _directory(_at(file, start, length), count)
    _check_extents(file, members, start)
    return members


def member_faults(members: Iterable[Member]) -> Iterator[str]:
    """Say which members are no plain files, or are packed in a way that no wheel needs."""
    members = list(members)
    for member in members:
        if fault := _fault(member):
            yield f"{member.name}: {fault}"
    if sum(member.size_bytes for member in members) > MAX_UNPACKED_BYTES:
        yield f"unpacks to more than {MAX_UNPACKED_BYTES >> 30} GB"


def blocks(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yield a member's content, never more than its size.

    Raises:
        NotPlainError: it is longer or shorter than the directory says, damaged, or followed by other bytes.
    """
    crc, left = 0, member.size_bytes
    packed = _packed(file, member)
    for block in packed if member.method == STORED else _inflated(packed):
        left -= len(block)
        if left < 0:
            raise NotPlainError("holds more than its size says")
        crc = zlib.crc32(block, crc)
        yield block
    if left or crc != member.crc:
        raise NotPlainError("holds less than its size says" if left else "its CRC-32 differs")


def read(file: BinaryIO, member: Member, limit_bytes: int) -> bytes:
    """Return a small member's content.

    Raises:
        NotPlainError: it is larger than the limit, or as `blocks` says.
    """
    if member.size_bytes > limit_bytes:
        raise NotPlainError(f"larger than {limit_bytes:,} bytes")
    return b"".join(blocks(file, member))


def _directory(data: bytes, count: int) -> list[Member]:
    members, at = [], 0
    while at < len(data):
        if len(data) - at < CENTRAL.size or data[at : at + 4] != CENTRAL_MARK:
            raise NotPlainError("its directory is damaged")
        fields = CENTRAL.unpack_from(data, at)
        _, _, needed, flags, method, _, _, crc, packed, size, name_length, extra_length, comment, disk = fields[:14]
        at += CENTRAL.size
        raw, extra = data[at : at + name_length], data[at + name_length : at + name_length + extra_length]
        at += name_length + extra_length
        if len(raw) + len(extra) != name_length + extra_length or comment or disk:
            raise NotPlainError("its directory is cut short, of several disks, or has comments")
        if needed > MAX_VERSION:
            raise NotPlainError(f"needs version {needed / 10} of the format to be read; a wheel needs 2.0")
        members.append(Member(_name(raw, flags), fields[16], flags, method, crc, packed, size, fields[15], raw, extra))
    if len(members) != count:
        raise NotPlainError(f"its directory lists {len(members)} members and its end record {count}")
    return members


def _name(raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8" if flags & IS_UTF8 else "ascii")
    except UnicodeDecodeError as error:
        raise NotPlainError(f"{raw[:80]!r}: a name in no known encoding") from error


def _check_extents(file: BinaryIO, members: Iterable[Member], end: int) -> None:
    """Check that the members lie one behind the other, from the first byte to the directory."""
    at = 0
    for member in sorted(members, key=lambda member: member.offset):
        if member.offset != at:
            raise NotPlainError(f"{member.name}: overlaps another member, or other bytes lie before it")
        at = _data_offset(file, member) + member.packed_bytes
        if at > end:
            raise NotPlainError(f"{member.name}: reaches beyond the members")
        if member.flags & HAS_DESCRIPTOR:
            at += _descriptor_bytes(file, member, at)
    if at != end:
        raise NotPlainError("other bytes lie between its members and its directory")


def _data_offset(file: BinaryIO, member: Member) -> int:
    """Return where a member's data starts; its own header has to say what the directory says."""
    data = _at(file, member.offset, LOCAL.size + len(member.raw_name))
    if len(data) < LOCAL.size + len(member.raw_name) or not data.startswith(LOCAL_MARK):
        raise NotPlainError(f"{member.name}: has no header of its own")
    fields: tuple[int, ...] = LOCAL.unpack_from(data)[1:]
    needed, flags, method, _, _, crc, packed, size, name_length, extra_length = fields
    sizes = (member.crc, member.packed_bytes, member.size_bytes)
    # Where the sizes follow behind the data, the header may leave them out.
    known = {sizes, (0, 0, 0)} if flags & HAS_DESCRIPTOR else {sizes}
    same = (flags, method, data[LOCAL.size :]) == (member.flags, member.method, member.raw_name)
    if not same or needed > MAX_VERSION or name_length != len(member.raw_name) or (crc, packed, size) not in known:
        raise NotPlainError(f"{member.name}: its own header and the directory differ")
    start = member.offset + LOCAL.size + name_length
    if fault := _extra_fault(_at(file, start, extra_length)):
        raise NotPlainError(f"{member.name}: {fault}")
    return start + extra_length


def _descriptor_bytes(file: BinaryIO, member: Member, at: int) -> int:
    sizes = struct.pack("<3L", member.crc, member.packed_bytes, member.size_bytes)
    for form in (DESCRIPTOR_MARK + sizes, sizes):
        if _at(file, at, len(form)) == form:
            return len(form)
    raise NotPlainError(f"{member.name}: the sizes behind its data differ from the directory")


def _fault(member: Member) -> str:
    mode = member.attributes >> 16
    kind = stat.S_IFDIR if member.is_folder else stat.S_IFREG
    faults = {
        "encrypted, or written with flags that no wheel needs": member.flags & ~FLAGS,
        f"packed by method {member.method}; a wheel stores or deflates": member.method not in (STORED, DEFLATED),
        "a link, a device or another special file": stat.S_IFMT(mode) not in (0, kind),
        "a folder by one mark and a file by the other": not member.is_folder and member.attributes & IS_DOS_FOLDER,
        "has set-user-id, set-group-id or sticky bits": mode & 0o7000,
        "a folder that holds bytes": member.is_folder and (member.size_bytes or member.packed_bytes > 2),
        "stored, with two sizes": member.method == STORED and member.size_bytes != member.packed_bytes,
        "a zip bomb": member.size_bytes > max(RATIO_FROM_BYTES, MAX_RATIO * member.packed_bytes),
    }
    found = next((words for words, is_true in faults.items() if is_true), "")
    return found or wheel_paths.fault(member.name.removesuffix("/")) or _extra_fault(member.extra)


def _extra_fault(extra: bytes) -> str:
    while extra:
        kind, length = struct.unpack_from("<2H", extra.ljust(4, b"\0"))
        if kind not in EXTRA_FIELDS or len(extra) < 4 + length:
            return f"has an extra field 0x{kind:04x}, which no wheel needs"
        extra = extra[4 + length :]
    return ""


def _packed(file: BinaryIO, member: Member) -> Iterator[bytes]:
    name_length, extra_length = struct.unpack("<2H", _at(file, member.offset + 26, 4))
    at, left = member.offset + LOCAL.size + name_length + extra_length, member.packed_bytes
    while left:
        block = _at(file, at, min(left, BLOCK_BYTES))
        if not block:
            raise NotPlainError("cut short")
        yield block
        at, left = at + len(block), left - len(block)


def _inflated(packed: Iterator[bytes]) -> Iterator[bytes]:
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        while not machine.eof:
            block = machine.unconsumed_tail or next(packed, b"")
            data = machine.decompress(block, BLOCK_BYTES)
            if not data and not block:
                raise NotPlainError("cut short")
            yield data
    except zlib.error as error:
        raise NotPlainError("its deflated data is damaged") from error
    if machine.unused_data or next(packed, b""):
        raise NotPlainError("other bytes lie behind its data")


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    return os.pread(file.fileno(), size, offset)

"""A small, valid wheel, and ways to break one thing of it: for the gate, and for whatever else reads wheels.

A `Draft` is changed before it is written (names, contents, marks, RECORD); what no zip writer can be made to write is
patched into its bytes afterwards.
"""

from __future__ import annotations

import base64
import hashlib
import io
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

NAME = "small-1.0-py3-none-any.whl"
INFO = "small-1.0.dist-info"
CODE, OTHER = "small/__init__.py", "small/other.py"
METADATA = b"Metadata-Version: 2.4\nName: small\nVersion: 1.0\nLicense-Expression: MIT\n"
WHEEL = b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
Raw = Callable[[bytes], bytes]


@dataclass
class Draft:
    """A wheel to be: files in their order, marks by name, more members that RECORD lists too, and RECORD's text."""

    files: dict[str, bytes] = field(default_factory=dict)
    info: str = INFO
    attributes: dict[str, int] = field(default_factory=dict)
    methods: dict[str, int] = field(default_factory=dict)
    extras: dict[str, bytes] = field(default_factory=dict)
    comments: dict[str, bytes] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    twice: list[tuple[str, bytes]] = field(default_factory=list)
    algorithm: str = "sha256"
    record: Callable[[str], str] = lambda text: text
    has_record: bool = True
    raw: Raw = lambda data: data

    def write(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.raw(self.archive(io.BytesIO())))
        return path

    def archive(self, stream: io.BytesIO) -> bytes:
        """Write the zip into a stream and return its bytes; where it cannot seek, the sizes come behind the data."""
        members = dict(self.files)
        if self.has_record:
            rows = "".join(f"{name},{self.digest(data)},{len(data)}\n" for name, data in members.items())
            members[f"{self.info}/RECORD"] = self.record(f"{rows}{self.info}/RECORD,,\n").encode()
        with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
            warnings.simplefilter("ignore")
            for name, data in [*((folder, b"") for folder in self.folders), *members.items(), *self.twice]:
                archive.writestr(self.entry(name), data)
        return stream.getvalue()

    def entry(self, name: str) -> zipfile.ZipInfo:
        entry = zipfile.ZipInfo("placeholder")
        entry.filename = name
        entry.create_system = 3
        entry.external_attr = self.attributes.get(name, (stat.S_IFREG | 0o644) << 16)
        entry.compress_type = self.methods.get(name, zipfile.ZIP_DEFLATED)
        entry.extra, entry.comment = self.extras.get(name, b""), self.comments.get(name, b"")
        return entry

    def digest(self, data: bytes) -> str:
        digest = hashlib.new(self.algorithm, data).digest()
        return f"{self.algorithm}={base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def draft(name: str = "small") -> Draft:
    """Return a valid wheel: two modules, a program, a licence."""
    files = {
        CODE: b"def main():\n    print('small')\n" * 20,
        OTHER: b"VALUE = 1\n" * 9,
        f"{INFO}/METADATA": METADATA,
        f"{INFO}/WHEEL": WHEEL,
        f"{INFO}/entry_points.txt": b"[console_scripts]\nsmall = small:main\n\n[small.plugins]\none = small\n",
        f"{INFO}/licenses/LICENSE": b"Do as you like.\n",
    }
    renamed = {path.replace("small", name): data.replace(b"small", name.encode()) for path, data in files.items()}
    return Draft(renamed, INFO.replace("small", name))


# What is changed before writing.


def with_file(name: str, data: bytes = b"x = 1\n", **marks: int) -> Draft:
    """Add a file, listed in RECORD as it should be; `attributes` and `methods` may be given for it."""
    made = draft()
    made.files[name] = data
    for kind, value in marks.items():
        getattr(made, kind)[name] = value
    return made


def with_mode(mode: int, name: str = OTHER) -> Draft:
    made = draft()
    made.attributes[name] = mode << 16
    return made


def with_text(name: str, old: bytes, new: bytes) -> Draft:
    made = draft()
    assert old in made.files[f"{INFO}/{name}"]
    made.files[f"{INFO}/{name}"] = made.files[f"{INFO}/{name}"].replace(old, new)
    return made


def without(name: str) -> Draft:
    made = draft()
    del made.files[name]
    return made


def with_programs(text: str, group: str = "console_scripts") -> Draft:
    made = draft()
    made.files[f"{INFO}/entry_points.txt"] = f"[{group}]\n{text}\n".encode()
    return made


def with_record(change: Callable[[str], str]) -> Draft:
    made = draft()
    made.record = change
    return made


def with_extra(kind: int, data: bytes = b"\x01small/evil.py") -> Draft:
    made = draft()
    made.extras[OTHER] = struct.pack("<2H", kind, len(data)) + data
    return made


def with_comment(name: str) -> Draft:
    made = draft()
    made.comments[name] = b"a comment"
    return made


def with_second(name: str, data: bytes) -> Draft:
    made = draft()
    made.twice.append((name, data))
    return made


def with_folder(name: str, data: bytes = b"") -> Draft:
    made = draft()
    made.attributes[name] = (stat.S_IFDIR | 0o755) << 16
    made.folders.append(name)
    if data:
        made.folders.remove(name)
        made.files[name] = data
    return made


# What is patched into the bytes.


def patched(change: Raw) -> Draft:
    made = draft()
    made.raw = change
    return made


def both_headers(name: str, at_local: int, at_central: int, value: bytes) -> Raw:
    """Write a field of one member into its own header and into the directory."""
    return lambda data: put(put(data, local(data, name) + at_local, value), central(data, name) + at_central, value)


def put(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


def local(data: bytes, name: str) -> int:
    """Return where a member's own header starts."""
    return data.index(name.encode()) - 30


def central(data: bytes, name: str) -> int:
    """Return where a member's header in the directory starts."""
    return data.rindex(b"PK\x01\x02", 0, data.rindex(name.encode()))


def end(data: bytes) -> int:
    return data.rindex(b"PK\x05\x06")


def moved(data: bytes, added: int, from_offset: int) -> bytes:
    """Correct every offset at or behind `from_offset` for bytes that were put in there."""
    start = struct.unpack_from("<L", data, end(data) + 16)[0]
    data = put(data, end(data) + 16, struct.pack("<L", start + added))
    at = start + added
    while data[at : at + 4] == b"PK\x01\x02":
        offset = struct.unpack_from("<L", data, at + 42)[0]
        if offset >= from_offset:
            data = put(data, at + 42, struct.pack("<L", offset + added))
        at += 46 + sum(struct.unpack_from("<3H", data, at + 28))
    return data


def insert(offset_of: Callable[[bytes], int], new: bytes) -> Raw:
    """Put bytes between members, with every offset corrected: only who looks at the gaps can see them."""

    def change(data: bytes) -> bytes:
        at = offset_of(data)
        return moved(data[:at] + new + data[at:], len(new), at)

    return change


def directory(data: bytes) -> int:
    return int(struct.unpack_from("<L", data, end(data) + 16)[0])


def overlap(data: bytes) -> bytes:
    """Let two names of the directory share one member's bytes."""
    offset = data[central(data, CODE) + 42 : central(data, CODE) + 46]
    return put(data, central(data, OTHER) + 42, offset)


def shorter(data: bytes) -> bytes:
    """Say that a member is shorter than what its data unpacks to, with a CRC to match what is left."""
    text = draft().files[CODE]
    fields = struct.pack("<L", zlib.crc32(text[:10]))
    data = both_headers(CODE, 14, 16, fields)(data)
    return both_headers(CODE, 22, 24, struct.pack("<L", 10))(data)


def count(value: int) -> Raw:
    return lambda data: put(data, end(data) + 8, struct.pack("<2H", value, value))


def hidden_locator(data: bytes) -> bytes:
    """End the directory with what a reader of zip64 takes for the way to another directory."""
    made = draft()
    made.comments[f"{INFO}/RECORD"] = b"PK\x06\x07" + bytes(16)
    return made.archive(io.BytesIO())


class Pipe(io.BytesIO):
    """A stream that cannot seek."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError("a pipe")

    def seek(self, *args: int) -> int:
        raise OSError("a pipe")

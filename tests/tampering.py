"""Change one thing in a copy of a bundle, in place, and put it back: a copy for each case would be a gigabyte each.

In: a tarball that may be written to. Out: context managers inside which it is damaged in one named way. Sizes stay as
they are wherever the damage allows, so that nothing but the check under test can notice.
"""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

END_OF_ARCHIVE = 1024
Damage = AbstractContextManager[None]


@contextmanager
def patched(path: Path, offset: int, data: bytes) -> Iterator[None]:
    """Write `data` over the bytes at `offset`, and afterwards what was there; the file may grow meanwhile."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(offset)
        before = file.read(len(data))
        file.seek(offset)
        file.write(data)
    try:
        yield
    finally:
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(before)
        os.truncate(path, size)


@contextmanager
def cut(path: Path, size: int) -> Iterator[None]:
    """Keep the first `size` bytes."""
    with path.open("r+b") as file:
        file.seek(size)
        rest = file.read()
        file.truncate(size)
    try:
        yield
    finally:
        with path.open("ab") as file:
            file.write(rest)


def members(bundle: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(bundle, "r:") as archive:
        return archive.getmembers()


def member(bundle: Path, ending: str) -> tarfile.TarInfo:
    """Return the largest member whose path ends so."""
    return max((one for one in members(bundle) if one.name.endswith(ending)), key=lambda one: one.size)


def end(info: tarfile.TarInfo) -> int:
    """Return where the next member begins."""
    return info.offset_data + (info.size + 511) // 512 * 512


def content(bundle: Path, ending: str) -> bytes:
    info = member(bundle, ending)
    with bundle.open("rb") as file:
        file.seek(info.offset_data)
        return file.read(info.size)


def flip_a_byte(ending: str) -> Callable[[Path], Damage]:
    """Invert one bit in the middle of a member."""

    def damage(bundle: Path) -> Damage:
        info = member(bundle, ending)
        at = info.offset_data + info.size // 2
        with bundle.open("rb") as file:
            file.seek(at)
            byte = file.read(1)[0]
        return patched(bundle, at, bytes([byte ^ 1]))

    return damage


def change_one_base64_character(bundle: Path) -> Damage:
    """Replace a character of the signature's last full line, which is in the signature proper, by its neighbour."""
    text = content(bundle, "/SHA256SUMS.sig")
    at = text.rindex(b"\n-----END") - 20
    other = b"B" if text[at : at + 1] == b"A" else b"A"
    return patched(bundle, member(bundle, "/SHA256SUMS.sig").offset_data + at, other)


def break_the_lines_elsewhere(bundle: Path) -> Damage:
    """Move the signature's first line break by one character: the same signature, which ssh-keygen accepts."""
    text = content(bundle, "/SHA256SUMS.sig")
    at = text.index(b"\n", text.index(b"\n") + 1)
    return patched(bundle, member(bundle, "/SHA256SUMS.sig").offset_data + at - 1, b"\n" + text[at - 1 : at])


def sign_with_another_key(key: Path) -> Callable[[Path], Damage]:
    """Put a stranger's signature over the same list in place of the builder's."""

    def damage(bundle: Path) -> Damage:
        sign = ["ssh-keygen", "-Y", "sign", "-q", "-f", str(key), "-n", "ferry-bundle"]
        made = subprocess.run(sign, input=content(bundle, "/SHA256SUMS"), capture_output=True, check=True).stdout
        info = member(bundle, "/SHA256SUMS.sig")
        assert len(made) == info.size, "an Ed25519 signature is as long as any other"
        return patched(bundle, info.offset_data, made)

    return damage


def repeat(ending: str) -> Callable[[Path], Damage]:
    """Add a member a second time, byte for byte, at the end of the archive, as `tar --append` would."""

    def damage(bundle: Path) -> Damage:
        info, last = member(bundle, ending), members(bundle)[-1]
        with bundle.open("rb") as file:
            file.seek(info.offset)
            again = file.read(end(info) - info.offset)
        return patched(bundle, end(last), again + bytes(END_OF_ARCHIVE))

    return damage


def keep(share: float) -> Callable[[Path], Damage]:
    """Cut the tarball off after a share of its bytes."""
    return lambda bundle: cut(bundle, int(bundle.stat().st_size * share))


def drop_the_last_block(bundle: Path) -> Damage:
    return cut(bundle, bundle.stat().st_size - 512)


def keep_nothing(bundle: Path) -> Damage:
    return cut(bundle, 0)


def write_unsigned(bundle: Path, target: Path) -> None:
    """Copy the bundle without its signature."""
    info = member(bundle, "/SHA256SUMS.sig")
    with bundle.open("rb") as source, target.open("wb") as copy:
        copy.write(source.read(info.offset))
        source.seek(end(info))
        while block := source.read(1 << 22):
            copy.write(block)

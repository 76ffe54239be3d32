"""A bundle cut into parts for media that hold no large files: found, put in order, and read as if they were one file.

`X.tar.001`, `.002`, … are plain slices of `X.tar`. Each part is hashed while it is read, once, and nothing is read
beforehand; when the bundle turns out to be damaged, the parts that are not what the list says are named.
"""

import filecmp
import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from checksums.errors import IntegrityError, UsageError
from checksums.hashing import CHUNK_BYTES
from checksums.parts_list import MAX_BYTES, MAX_PARTS, SUFFIX, PartsList, part_name
from checksums.tarball import BLOCK

PART = re.compile(r".+\.tar\.(?!000)[0-9]{3}", re.DOTALL)
RECOPY = "copy what is named here again"
OTHERS_WHOLE = "copy what is named here again; the other parts are whole and need not be copied again"


@dataclass(frozen=True)
class Part:
    """One part on the disk: its size in bytes, and the SHA-256 that the list states, "" where there is no list."""

    name: str
    path: Path
    size: int
    sha256: str


def is_part(path: Path) -> bool:
    """Say whether a path is called like a part of a bundle, or like the list of its parts."""
    return PART.fullmatch(path.name) is not None or _is_list(path)


def find(paths: Sequence[Path]) -> list[Part]:
    """Return all parts of the bundle that `paths` name some of, in order; those beside the named ones are found.

    A part that is named goes before one that is found: that is how a good copy takes the place of a damaged one.

    Raises:
        UsageError: a path is no part, or cannot be read.
        IntegrityError: parts of two bundles, one that is missing, empty, cut short, or there twice and not the same.
    """
    for path in paths:
        if not is_part(path):
            raise UsageError(f"{path}: not a part of a bundle", "name one bundle, or its parts: ….tar.001 ….tar.002 …")
    bundle = _bundle_of(paths)
    listed = _list_of(bundle, paths)
    there = _there(bundle, paths)
    count = len(listed.parts) if listed else max(there, default=1)
    if extra := [number for number in there if number > count and there[number] in paths]:
        raise IntegrityError(f"{part_name(bundle, extra[0])}: {bundle}{SUFFIX} names {count} parts only", RECOPY)
    if missing := [part_name(bundle, number) for number in range(1, count + 1) if number not in there]:
        raise IntegrityError(f"{', '.join(missing)}: missing", "copy it beside the others, or name its path too")
    sizes = [_size(there[number]) for number in range(1, count + 1)]
    _check_sizes(bundle, sizes, [part.size for part in listed.parts] if listed else None)
    digests = [part.sha256 for part in listed.parts] if listed else [""] * count
    numbered = enumerate(zip(sizes, digests, strict=True), 1)
    return [Part(part_name(bundle, n), there[n], size, sha256) for n, (size, sha256) in numbered]


def _is_list(path: Path) -> bool:
    return path.name.endswith(f".tar{SUFFIX}")


def _bundle_of(paths: Sequence[Path]) -> str:
    names = {path.name.removesuffix(SUFFIX) if _is_list(path) else path.name[:-4] for path in paths}
    if len(names) != 1:
        raise IntegrityError(f"parts of {len(names)} bundles: {', '.join(sorted(names))}", "name the parts of one")
    return names.pop()


def _list_of(bundle: str, paths: Sequence[Path]) -> PartsList | None:
    """Return the list that is named, else the one beside a part; None where there is none."""
    named = [path for path in paths if _is_list(path)]
    beside = [path.parent / f"{bundle}{SUFFIX}" for path in paths]
    files = named or [path for path in beside if path.is_file()]
    found = {_read_list(path) for path in files}
    if len(found) > 1:
        raise IntegrityError(f"two lists of parts differ: {', '.join(map(str, files))}", "name the right one")
    listed = found.pop() if found else None
    if listed and listed.bundle != bundle:
        raise IntegrityError(f"{bundle}{SUFFIX}: is about {listed.bundle[:80]!r}", "copy it again, or remove it")
    return listed


def _read_list(path: Path) -> PartsList:
    _size(path)
    with path.open("rb") as file:
        return PartsList.parse(file.read(MAX_BYTES + 1), path.name)


def _there(bundle: str, paths: Sequence[Path]) -> dict[int, Path]:
    """Return number -> path of what is named, else of what lies in the folders of what is named."""
    there: dict[int, Path] = {}
    for path in paths:
        if not _is_list(path):
            _check_twin(there.setdefault(int(path.name[-3:]), path), path)
    for folder in dict.fromkeys(path.parent for path in paths):
        for number in range(1, MAX_PARTS + 1):
            beside = folder / part_name(bundle, number)
            if number not in there and beside.is_file():
                there[number] = beside
    return there


def _check_twin(one: Path, other: Path) -> None:
    """Two copies of a part have to be the same: which of them is the good one, only the operator can say."""
    if _size(one) != _size(other) or not (one == other or filecmp.cmp(one, other, shallow=False)):
        raise IntegrityError(f"{one} and {other} are the same part and differ", "name the one to use")


def _size(path: Path) -> int:
    if not path.is_file():
        raise UsageError(f"{path}: {'not a file' if path.exists() else 'no such file'}", "give the paths of the parts")
    try:
        with path.open("rb") as file:
            return file.seek(0, io.SEEK_END)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "give the paths of the parts") from error


def _check_sizes(bundle: str, sizes: Sequence[int], listed: Sequence[int] | None) -> None:
    """Say at once what can be said before anything is read. Without a list, all parts but the last are of one size."""
    wanted = listed or [*[max(sizes)] * (len(sizes) - 1), sizes[-1]]
    faults = [
        f"{part_name(bundle, number)}: {'is empty' if not size else f'{size} of {right} bytes'}"
        for number, (size, right) in enumerate(zip(sizes, wanted, strict=True), 1)
        if size != right or not size
    ]
    if faults:
        raise IntegrityError("\n".join(faults), RECOPY)


class PartsReader(io.RawIOBase):
    """The bytes of all parts, one after the other, each read and hashed once."""

    def __init__(self, parts: Sequence[Part]) -> None:
        super().__init__()
        self.parts = parts
        self.position = 0
        self.faults: list[str] = []
        self._number = 0
        self._file: io.FileIO | None = None
        self._left = 0
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self.position

    def readinto(self, buffer: Any, /) -> int:
        """Read some bytes of one part; 0 behind the last one.

        Raises:
            IntegrityError: the medium gives an error, or the part has become shorter.
        """
        view = memoryview(buffer).cast("B")
        while view and self._number < len(self.parts):
            if count := self._read(view):
                return count
            self._end_part()
        return 0

    def close(self) -> None:
        """Close the part that is open."""
        if self._file:
            self._file.close()
        super().close()

    def names(self, start: int, end: int) -> list[str]:
        """Return the names of the parts that hold the bytes from `start` to before `end`."""
        found, begin = [], 0
        for part in self.parts:
            if begin < end and start < begin + part.size:
                found.append(part.name)
            begin += part.size
        return found

    def explain(self, error: IntegrityError) -> IntegrityError:
        """Return an error about what was read so far with the names of the damaged parts.

        Reads on to the end of the part, and, where one is damaged, of all: another one need not be found later.
        """
        self._finish(self._number + 1)
        if self.faults:
            self._finish(len(self.parts))
            hint = OTHERS_WHOLE if self.parts[0].sha256 else RECOPY
            return IntegrityError("\n".join(dict.fromkeys([*self.faults, error.message])), hint)
        if self.parts[0].sha256:
            return error
        if any(part.name in error.message for part in self.parts):
            return IntegrityError(error.message, self._bring_list())
        named = self.names(self.position - 1, self.position)
        if not named:
            return error
        is_end = self.position == sum(part.size for part in self.parts)
        where = f"{named[0]} is the last part here: is one missing?" if is_end else f"noticed in {named[0]}"
        return IntegrityError(f"{error.message} ({where})", error.hint)

    def _bring_list(self) -> str:
        """Return the hint where damage is found, and no list says which of several parts it lies in."""
        bundle = self.parts[0].name.rpartition(".")[0]
        return f"copy these parts again; or copy {bundle}{SUFFIX} beside a part: with it the damaged one is named"

    def _finish(self, number: int) -> None:
        """Read on until so many parts are behind us."""
        at, buffer = self.position, bytearray(CHUNK_BYTES)
        while self._number < min(number, len(self.parts)):
            with suppress(IntegrityError):
                if not self._read(memoryview(buffer)):
                    self._end_part()
        self.position = at

    def _read(self, view: memoryview) -> int:
        part = self.parts[self._number]
        try:
            if self._file is None:
                self._file, self._left = part.path.open("rb", buffering=0), part.size
            count = self._file.readinto(view[: self._left]) or 0
        except OSError as error:
            raise self._fault(f"cannot be read: {error.strerror}") from error
        if self._left and not count:
            raise self._fault("has become shorter meanwhile")
        if part.sha256:
            self._digest.update(view[:count])
        self._left -= count
        self.position += count
        return count

    def _fault(self, what: str) -> IntegrityError:
        self.faults.append(f"{self.parts[self._number].name}: {what}")
        self._next()
        return IntegrityError(self.faults[-1], RECOPY)

    def _end_part(self) -> None:
        part = self.parts[self._number]
        if part.sha256 and self._digest.hexdigest() != part.sha256:
            self.faults.append(f"{part.name}: damaged, its sha256 is not the one in the list of parts")
        self._next()

    def _next(self) -> None:
        if self._file:
            self._file.close()
        self._number, self._file, self._digest = self._number + 1, None, hashlib.sha256()


@contextmanager
def explained(stream: BinaryIO) -> Iterator[None]:
    """Let a complaint about what was read from `stream` name the damaged parts, where the bundle came in parts."""
    try:
        yield
    except IntegrityError as error:
        if not isinstance(stream, PartsReader) or (explanation := stream.explain(error)) is error:
            raise
        raise explanation from error


def holding(stream: BinaryIO, size_bytes: int) -> str:
    """Return " (in …)" with the parts that hold the member of this size that was just read.

    "" for one file, and where a list is there: it tells the damaged part, and the others must not be named beside it.
    """
    if not isinstance(stream, PartsReader) or stream.parts[0].sha256:
        return ""
    padding = -size_bytes % BLOCK
    end = stream.tell() - padding
    names = stream.names(end - size_bytes, end)
    return f" (in {', '.join(names) if len(names) < 3 else f'{names[0]} to {names[-1]}'})"

"""What a folder has to hold, as a list that is made when the folder is, and its comparison with what is there.

A folder of the disk comes in, entries go out; entries and a folder come in, every difference goes out, each named
once. The list stands in the folder itself, so that both get their place, and lose it, in one step.
"""

import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from itertools import chain
from pathlib import Path

from checksums.errors import IntegrityError
from checksums.hashing import CHUNK_BYTES, OnBytes

LIST = ".ferry-tree"
HEADER = "ferry-tree 1 "
LIST_MODE = 0o644
FILES_AT_ONCE, LARGE_BYTES = 64, 4 << 20
FILE, FOLDER, LINK, OTHER = "file", "folder", "link", "device, pipe or socket"
TOP = "."
MISSING, EXTRA = "missing", "is no part of what was installed"
NO_LIST = "there is no list of what has to be here: an earlier Ferry made it"


@dataclass(frozen=True)
class Entry:
    """What stands at a path: kind, permissions, size in bytes, and a file's SHA-256 or where a link leads."""

    path: str
    kind: str
    mode: int
    size: int = 0
    content: str = ""


@dataclass(frozen=True)
class Owner:
    """Whose everything has to be; a group of None may be any."""

    user: int
    group: int | None = None

    def __str__(self) -> str:
        return f"{self.user}" if self.group is None else f"{self.user} and {self.group}"

    def has(self, found: os.stat_result) -> bool:
        """Say whether something is the owner's."""
        return found.st_uid == self.user and self.group in {None, found.st_gid}


@dataclass(frozen=True)
class Difference:
    """What is wrong at a path of a folder; `entry` is what has to stand there, None for nothing."""

    path: str
    problem: str
    entry: Entry | None

    @property
    def is_content(self) -> bool:
        """Say whether it takes other bytes to mend it, and not only a mode, an owner or a removal."""
        return self.entry is not None and not self.problem.startswith(("mode ", "belongs to "))

    @property
    def is_alone(self) -> bool:
        """Say whether nothing below the path can be as it should be, so that it is named alone."""
        return self.entry is None or self.is_content


def scan(root: Path, closed: Collection[str] = ()) -> Iterator[Entry]:
    """Yield everything below a folder and the folder itself, files without their digest; the list is left out.

    What is in folders that are `closed`, or that we may not enter, is left out too.
    """
    yield _entry(TOP, str(root), root.lstat())
    folders = [""]
    while folders:
        above = folders.pop()
        with os.scandir(f"{root}/{above}") as found:
            for item in found:
                path = f"{above}{item.name}"
                if path == LIST:
                    continue
                entry = _entry(path, item.path, item.stat(follow_symlinks=False))
                yield entry
                if entry.kind == FOLDER and path not in closed and os.access(item.path, os.R_OK | os.X_OK):
                    folders.append(f"{path}/")


def record(root: Path, leave_out: Collection[str] = ()) -> dict[str, Entry]:
    """Return path -> entry of everything below a folder, hashed on all cores.

    Files that are to be left out are, and folders with all that is in them.
    """
    entries = {entry.path: entry for entry in scan(root, leave_out) if entry.path not in leave_out}
    files = [entry for entry in entries.values() if entry.kind == FILE]
    digests = sha256_files([root / entry.path for entry in files])
    for entry, digest in zip(files, digests, strict=True):
        if isinstance(digest, OSError):
            raise digest
        entries[entry.path] = replace(entry, content=digest)
    return entries


def render(entries: Mapping[str, Entry]) -> bytes:
    """Return the list: its own digest, then an entry a line, sorted by path."""
    lines = [json.dumps(astuple(entries[path])) for path in sorted(entries)]
    body = "".join(f"{line}\n" for line in lines).encode()
    return f"{HEADER}{hashlib.sha256(body).hexdigest()}\n".encode() + body


def parse(data: bytes) -> dict[str, Entry]:
    """Return path -> entry.

    Raises:
        IntegrityError: it is not what its own digest says.
    """
    head, _, body = data.partition(b"\n")
    if head != f"{HEADER}{hashlib.sha256(body).hexdigest()}".encode():
        raise IntegrityError("damaged: it is not what its own digest says", "mend it: ferry repair")
    return {line[0]: Entry(*line) for line in map(json.loads, body.splitlines())}


def write(root: Path, entries: Mapping[str, Entry]) -> None:
    """Put the list into a folder that is being made."""
    path = root / LIST
    path.unlink(missing_ok=True)
    path.write_bytes(render(entries))
    path.chmod(LIST_MODE)


def read(root: Path) -> dict[str, Entry]:
    """Return the list of a folder.

    Raises:
        IntegrityError: there is none, or it is damaged.
    """
    path = root / LIST
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise IntegrityError("not a plain file", "mend it: ferry repair")
        return parse(path.read_bytes())
    except FileNotFoundError as error:
        raise IntegrityError(NO_LIST, "mend it: ferry repair") from error
    except OSError as error:
        raise IntegrityError(error.strerror or "cannot be read", "mend it: ferry repair") from error


def is_whole(root: Path) -> bool:
    """Say whether a folder is what its list says, every file of it hashed now."""
    try:
        entries = read(root)
        differences, unread = look(root, entries)
    except (OSError, IntegrityError):
        return False
    files = [entries[path] for path in unread]
    digests = sha256_files([root / file.path for file in files])
    return not differences and all(file.content == digest for file, digest in zip(files, digests, strict=True))


def look(
    root: Path, wanted: Mapping[str, Entry], owner: Owner | None = None, is_closed: bool = True
) -> tuple[list[Difference], list[str]]:
    """Compare a folder with what it has to hold without reading a file; return the differences, and what is to read.

    What lies below a folder that is missing or too much is not named too. Where the folder is not `is_closed`, it may
    hold more.
    """
    if not root.is_dir():
        return [Difference(TOP, MISSING, Entry(TOP, FOLDER, 0o755))], []
    there = {entry.path: entry for entry in scan(root)} if is_closed else _those(root, wanted)
    differences, unread, hidden = list[Difference](), list[str](), "/"
    for path in sorted({*there, *wanted}, key=_by_parts):
        if path.startswith(hidden):
            continue
        difference = compare(path, wanted.get(path), there.get(path)) or _stranger(root, wanted[path], owner)
        if difference:
            differences.append(difference)
            is_shut = (
                path in there and there[path].kind == FOLDER and not os.access(f"{root}/{path}", os.R_OK | os.X_OK)
            )
            hidden = f"{path}/" if difference.is_alone or is_shut else hidden
        elif wanted[path].kind == FILE:
            unread.append(path)
    return differences, unread


def compare(path: str, wanted: Entry | None, found: Entry | None) -> Difference | None:
    """Return how what is found differs from what is wanted, bytes of files left aside."""
    if wanted is None:
        return Difference(path, EXTRA, None)
    if found is None:
        return Difference(path, MISSING, wanted)
    if found.kind != wanted.kind:
        return Difference(path, f"a {found.kind}, not a {wanted.kind}", wanted)
    if wanted.kind == LINK and found.content != wanted.content:
        return Difference(path, f"leads to {found.content} instead of {wanted.content}", wanted)
    if wanted.kind == FILE and found.size != wanted.size:
        return Difference(path, f"{found.size} bytes instead of {wanted.size}", wanted)
    if wanted.kind != LINK and found.mode != wanted.mode:
        return Difference(path, f"mode {found.mode:04o} instead of {wanted.mode:04o}", wanted)
    return None


def sha256_files(paths: Sequence[Path], on_bytes: OnBytes | None = None) -> list[str | OSError]:
    """Return the SHA-256 of each file, or why it cannot be read, in the order given; hashed on all cores."""
    names = [str(path) for path in paths]
    # Large ones first and alone, so that no core waits at the end. Of the small ones a thread takes many: handing over
    # one costs several times what hashing it does.
    order = sorted(range(len(names)), key=lambda number: -_size(names[number]))
    large = sum(_size(names[number]) >= LARGE_BYTES for number in order)
    few = range(large, len(order), FILES_AT_ONCE)
    parts = [*([number] for number in order[:large]), *(order[at : at + FILES_AT_ONCE] for at in few)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda part: _sha256_each([names[number] for number in part], on_bytes), parts)
        digests = dict(zip(chain(*parts), chain(*found), strict=True))
    return [digests[number] for number in range(len(names))]


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _sha256_each(paths: list[str], on_bytes: OnBytes | None) -> list[str | OSError]:
    buffer = memoryview(bytearray(CHUNK_BYTES))
    found: list[str | OSError] = []
    for path in paths:
        try:
            found.append(_sha256(path, buffer, on_bytes))
        except OSError as error:
            found.append(error)
    return found


def _sha256(path: str, buffer: memoryview, on_bytes: OnBytes | None) -> str:
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while count := os.readv(descriptor, [buffer]):
            digest.update(buffer[:count])
            if on_bytes:
                on_bytes(count)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def _those(root: Path, wanted: Iterable[str]) -> dict[str, Entry]:
    """Return what stands at these paths of a folder."""
    places = {path: root / path for path in wanted}
    return {path: _entry(path, str(at), at.lstat()) for path, at in places.items() if os.path.lexists(at)}


def _entry(path: str, place: str, found: os.stat_result) -> Entry:
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISREG(found.st_mode):
        return Entry(path, FILE, mode, found.st_size)
    if stat.S_ISDIR(found.st_mode):
        return Entry(path, FOLDER, mode)
    if stat.S_ISLNK(found.st_mode):
        return Entry(path, LINK, 0o777, 0, str(Path(place).readlink()))
    return Entry(path, OTHER, mode)


def _stranger(root: Path, entry: Entry, owner: Owner | None) -> Difference | None:
    """Say whose a path is where it is not `owner`'s."""
    if owner is None or owner.has(found := os.lstat(f"{root}/{entry.path}")):
        return None
    whose = f"user {found.st_uid} and group {found.st_gid}"
    return Difference(entry.path, f"belongs to {whose} instead of {owner}", entry)


def _by_parts(path: str) -> str:
    """Return what sorts a path right behind its folder."""
    return path.replace("/", "\0")

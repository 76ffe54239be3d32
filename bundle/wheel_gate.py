"""The gate that every wheel passes before it is packed: what passes is what the signer vouches for.

In: locked wheels and their files. Out: nothing, or one error that names every wheel and member at fault. The archive,
the names and the places are looked at each time; content against RECORD, which unpacks everything, once for a digest
and for the text of these checks. Known ways in: CVE-2026-1703, CVE-2026-8643, pypa/pip#4705.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import BinaryIO

from bundle import wheel_identity, wheel_paths, wheel_record, wheel_zip
from bundle.lock import Locked
from bundle.progress import Progress
from bundle.wheel_zip import Member, NotPlainError
from checksums.errors import IntegrityError
from checksums.hashing import sha256_file

MAX_TEXT_BYTES = 1 << 24
MAX_SHOWN = 20
# Python runs these lines at every start: (project, file) -> the SHA-256 of the text that somebody has read.
READ_PTH = {
    ("setuptools", "distutils-precedence.pth"): {"2638ce9e2500e572a5e0de7faed6661eb569d1b696fcba07b0dd223da5f5d224"},
}
HINT = "nothing was packed; ask who publishes the wheel, or lock another version: python -m bundle lock"


@dataclass(frozen=True)
class Checked:
    """One wheel after the gate: the faults found in it, and where its files come to lie."""

    wheel: Locked
    faults: tuple[str, ...]
    places: tuple[str, ...] = ()


def check(wheels: Sequence[tuple[Locked, Path]], progress: Progress) -> None:
    """Check wheels one by one and against each other.

    Raises:
        IntegrityError: a wheel is not what it says, or could do what no wheel may; all faults are named.
    """
    ordered = sorted(wheels, key=lambda pair: pair[1].stat().st_size, reverse=True)
    with (
        progress.bytes_bar("checking wheels", sum(file.stat().st_size for _, file in ordered)) as bar,
        ThreadPoolExecutor() as pool,
    ):
        found = list(pool.map(partial(_check_file, update=bar.update), *zip(*ordered, strict=True))) if ordered else []
    faults = [f"{one.wheel.file}: {fault}" for one in found for fault in one.faults]
    faults = list(map(_shown, sorted(faults) or sorted(shared_places(found))))
    if faults:
        more = [f"and {len(faults) - MAX_SHOWN} more"] if len(faults) > MAX_SHOWN else []
        raise IntegrityError("\n".join([*faults[:MAX_SHOWN], *more]), HINT)


def shared_places(found: Iterable[Checked]) -> Iterator[str]:
    """Say which files two wheels both install, whatever their case, and which are files here and folders there."""
    owners: dict[str, str] = {}
    folders: dict[str, str] = {}
    for one in found:
        keys = {place.casefold() for place in one.places}
        above = {folder for key in keys for folder in wheel_paths.parents(key)}
        yield from (f"{one.wheel.file}: {key}: {owners[key]} installs it too" for key in keys & owners.keys())
        yield from (f"{one.wheel.file}: {key}: a file in {owners[key]}" for key in above & owners.keys())
        yield from (f"{one.wheel.file}: {key}: a folder in {folders[key]}" for key in keys & folders.keys())
        owners |= dict.fromkeys(keys, one.wheel.file)
        folders |= dict.fromkeys(above, one.wheel.file)


def _check_file(wheel: Locked, path: Path, update: Callable[[int], object]) -> Checked:
    try:
        with path.open("rb") as file:
            return _check(wheel, path, file, update)
    except NotPlainError as error:
        return Checked(wheel, (str(error),))


def _check(wheel: Locked, path: Path, file: BinaryIO, update: Callable[[int], object]) -> Checked:
    members = wheel_zip.read_members(file)
    files = {member.name: member for member in members if not member.is_folder}
    faults = [*wheel_zip.member_faults(members), *wheel_paths.path_faults([member.name for member in members])]
    own, fault = wheel_identity.own_folder(files, wheel.file)
    if faults or fault:
        return Checked(wheel, tuple(filter(None, (*faults, fault))))
    folder = f"{own}.dist-info"
    rows, faults = wheel_record.parse(_bytes(file, files, f"{folder}/RECORD"))
    faults += wheel_record.list_faults(rows, files, folder)
    faults += wheel_identity.metadata_faults(_text(file, files, f"{folder}/METADATA"), wheel.name, wheel.version)
    faults += wheel_identity.tag_faults(_text(file, files, f"{folder}/WHEEL"), wheel.file)
    places, wrong = _places(file, files, own, wheel.name)
    faults += wrong
    if not faults and not (passed := _marker(path)).exists():
        faults += wheel_record.content_faults(file, members, rows, update)
        # The marker speaks for the digest that the lock names, whatever lies there at another time.
        if not faults and sha256_file(path) == wheel.sha256:
            passed.touch()
    return Checked(wheel, tuple(faults), tuple(places))


def _places(file: BinaryIO, files: Mapping[str, Member], own: str, project: str) -> tuple[list[str], list[str]]:
    """Return where everything in a wheel comes to lie, programs of its entry points included, and what may not."""
    names, faults = _programs(file, files, f"{own}.dist-info/entry_points.txt", project)
    places = [f"{wheel_paths.PROGRAMS}{name}" for name in names]
    for path, member in files.items():
        try:
            places.append(wheel_paths.installed(path, own))
        except ValueError as error:
            faults.append(f"{path}: {error}")
            continue
        fault = wheel_paths.place_fault(places[-1], own, project)
        if fault or (wheel_paths.PTH.fullmatch(places[-1]) and not _is_read(file, member, places[-1], project)):
            faults.append(f"{path}: {fault or 'would run at every start of Python, and nobody has read it'}")
    return places, [*faults, *wheel_paths.path_faults(places)]


def _programs(file: BinaryIO, files: Mapping[str, Member], path: str, project: str) -> tuple[list[str], list[str]]:
    return wheel_identity.programs(_text(file, files, path), project) if path in files else ([], [])


def _is_read(file: BinaryIO, member: Member, place: str, project: str) -> bool:
    digest = hashlib.sha256(wheel_zip.read(file, member, MAX_TEXT_BYTES)).hexdigest()
    return digest in READ_PTH.get((project, place.rpartition("/")[2]), ())


def _bytes(file: BinaryIO, files: Mapping[str, Member], path: str) -> bytes:
    if path not in files:
        raise NotPlainError(f"{path}: missing")
    try:
        return wheel_zip.read(file, files[path], MAX_TEXT_BYTES)
    except NotPlainError as error:
        raise NotPlainError(f"{path}: {error}") from error


def _text(file: BinaryIO, files: Mapping[str, Member], path: str) -> str:
    try:
        return _bytes(file, files, path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotPlainError(f"{path}: not in UTF-8") from error


def _shown(text: str) -> str:
    """Return a text with no character in it that a terminal would act upon: names come from the wheel."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _marker(path: Path) -> Path:
    """Return the file beside a wheel in the store that says: its content passed these very checks."""
    return path.with_name(f".content-passed-{_edition()}")


@cache
def _edition() -> str:
    """Return what changes with the text of the checks, so that a stricter gate looks again."""
    modules = (wheel_zip, wheel_record)
    return hashlib.sha256(b"".join(Path(str(module.__file__)).read_bytes() for module in modules)).hexdigest()[:16]

"""The journal of a change under way: PREFIX/journal, a JSON line for each step, forced to the disk before the step.

A line names what takes a change back ("undo") or what is left to do once the change stays ("finish"). The line `commit`
divides: before it a change that was broken off is taken back, after it it is finished. Each step that was done then is
written down too ("done"), so that taking back may be broken off as well: the one step that it was at is repeated, and
every step may be. The steps themselves are in installer/undo.py.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checksums.errors import FerryError
from installer.places import Places

FORMAT = 1
NAME = "journal"


@dataclass(frozen=True)
class Step:
    """One named step with its arguments, as JSON has them; `number` is its line, from 1."""

    number: int
    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Record:
    """A journal that was read: what was being done, and what is left to do about it, in the order of the file.

    `mode` is the installation's, as state.json has it; `made` are the folders made for the prefix, outermost first.
    """

    command: str
    mode: str
    is_committed: bool
    undo: tuple[Step, ...]
    finish: tuple[Step, ...]
    made: tuple[Path, ...]


class Journal:
    """A journal to write to; the caller holds the installation's lock."""

    def __init__(self, path: Path, flags: int = 0) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | flags, 0o600)

    @classmethod
    def begin(cls, places: Places, command: str, made: tuple[Path, ...] = ()) -> "Journal":
        """Make a new one; `made` as in `Record`."""
        new = cls(path_of(places), os.O_CREAT | os.O_EXCL)
        try:
            folders = [str(path) for path in made]
            new._append({"format": FORMAT, "command": command, "mode": places.mode, "made": folders})
            sync_folder(places.prefix)
        except BaseException:
            new.close()
            new.path.unlink()
            raise
        return new

    @classmethod
    def again(cls, places: Places) -> "Journal":
        """Open the one that is there, to write down what is done about it."""
        old = cls(path_of(places))
        os.ftruncate(old._descriptor, _whole(old.path.read_bytes()))
        return old

    def undo(self, name: str, *arguments: Any) -> None:
        """Put a step on the way back, before the change that it takes back."""
        self._append({"undo": name, "arguments": arguments})

    def finish(self, name: str, *arguments: Any) -> None:
        """Put a step behind the commit."""
        self._append({"finish": name, "arguments": arguments})

    def done(self, step: Step) -> None:
        """Say that a step of taking back, or finishing, is done."""
        self._append({"done": step.number})

    def commit(self) -> None:
        """Let every change stay."""
        self._append({"commit": True})

    def close(self) -> None:
        """Write no more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, line: dict[str, Any]) -> None:
        data = json.dumps(line).encode() + b"\n"
        size_bytes = os.fstat(self._descriptor).st_size
        try:
            if os.write(self._descriptor, data) != len(data):
                raise FerryError(f"{self.path}: the disk is full", "free some space there, then run the same again")
            os.fdatasync(self._descriptor)
        except BaseException:
            # A part of a line, or one that may not be on the disk: its change is never made.
            os.ftruncate(self._descriptor, size_bytes)
            raise


def path_of(places: Places) -> Path:
    """Return where an installation's journal is while something is being changed."""
    return places.prefix / NAME


def read(places: Places) -> Record | None:
    """Return the journal that an earlier run left, None where it left none.

    Raises:
        FerryError: a newer Ferry wrote it, or it makes no sense.
    """
    path = path_of(places)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    lines = data[: _whole(data)].splitlines()
    try:
        return _parse([json.loads(line) for line in lines])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FerryError(
            f"{path}: damaged: {error}", "look at it, and move it away if it is none of Ferry's"
        ) from error


def _parse(lines: list[dict[str, Any]]) -> Record:
    if not lines:
        return Record("change", "root", False, (), (), ())
    head, *rest = lines
    if head["format"] != FORMAT:
        raise FerryError(
            f"the journal has format {head['format']}, which this Ferry does not know", "use the newer one"
        )
    at = next((number for number, line in enumerate(rest) if "commit" in line), len(rest))
    made = tuple(Path(path) for path in head["made"])
    done = {line["done"] for line in rest if "done" in line}
    undo, finish = ([step for step in _steps(rest, kind) if step.number not in done] for kind in ("undo", "finish"))
    return Record(str(head["command"]), str(head["mode"]), at < len(rest), tuple(undo), tuple(finish), made)


def _steps(lines: list[dict[str, Any]], kind: str) -> Iterator[Step]:
    for number, line in enumerate(lines, 1):
        if kind in line:
            yield Step(number, str(line[kind]), tuple(line["arguments"]))


def _whole(data: bytes) -> int:
    """Return how many bytes are whole lines; one without its end was being written, and its change was not made."""
    return data.rfind(b"\n") + 1


def sync_folder(folder: Path) -> None:
    """Force a folder's entries to the disk: a rename is durable only then."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

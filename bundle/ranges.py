"""Files with known sizes and digests -> files on disk, several ranges at a time, going on from what is there.

A **complete range** is one whose bytes write(2) has taken for a part file (bundle/partial.py). No such byte is asked
for again, whatever ended the run before, with one exception that lies with the hub: where it answers a range with the
whole file, what is there is skipped as it comes. What was on its way when a run ended is asked for again.

A Source knows the protocol (bundle/models.py: the ModelScope SDK); this module decides what is asked for, and when.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bundle.partial import Partial, Piece
from bundle.progress import Bar
from bundle.retry import Tries
from checksums.errors import CollectError, FerryError, IntegrityError
from checksums.hashing import sha256_file

AGAIN = "run the same command again: it goes on from what was fetched"
WRONG = "the hub's file is damaged or was changed: run the same command again, and if it stays so ask its owner"
# A hub that sends less before each failure is not making progress.
PROGRESS_BYTES = 64 << 10


class TransientError(Exception):
    """The hub or the network failed in a way that may pass; `wish_s` is the hub's own idea of when."""

    def __init__(self, message: str, wish_s: float | None = None) -> None:
        super().__init__(message)
        self.wish_s = wish_s


class StoppedError(Exception):
    """Another thread failed, or the operator interrupted: this one ends too."""


class WholeFileError(Exception):
    """The hub answers a range with the whole file."""


@dataclass(frozen=True)
class Answer:
    """A body that begins at byte `first` of a file of `size_bytes` (None: the hub does not say)."""

    first: int
    size_bytes: int | None
    chunks: Iterator[bytes]


class Source(Protocol):
    """Where bytes come from; `name` is what messages call it."""

    name: str

    def open(self, path: str, start: int, stop: int | None) -> AbstractContextManager[Answer]:
        """Ask for `start` up to `stop`, or for the whole file; TransientError and StoppedError as they say."""

    def sleep(self, seconds: float) -> None:
        """Wait, unless stopped meanwhile (StoppedError)."""

    def stop(self) -> None:
        """End every wait and every answer; threads may call it."""


@dataclass
class Wanted:
    """A file to fetch: its path at the hub, its digest, what is there of it, and where it goes when it is whole."""

    path: str
    sha256: str
    partial: Partial
    target: Path
    is_stream: bool = field(default=False)


def fetch(files: Sequence[Wanted], source: Source, jobs: int, bar: Bar) -> None:
    """Fetch every file, `jobs` ranges at the same time; each is checked and moved to its target when it is whole.

    Raises:
        CollectError: the hub stopped answering, or this disk is full; what was fetched is kept.
        IntegrityError: what came is not what was listed; every such file is named, and nothing of it is kept.
    """
    bar.update(sum(file.partial.held_bytes for file in files))
    tasks = [_task(source, file, piece, bar) for file in files for piece in file.partial.pieces]
    wrong: list[str] = []
    while tasks:
        wrong += _run(tasks, source, jobs)
        # Those whose ranges the hub does not honour come again, each as one stream.
        streams, files = [file for file in files if file.is_stream], []
        tasks = [_task(source, file, file.partial.as_one_stream(), bar) for file in streams]
        for file in streams:
            file.is_stream = False
    if wrong:
        raise IntegrityError("\n".join(sorted(set(wrong))), WRONG)


def _task(source: Source, file: Wanted, piece: Piece, bar: Bar) -> Callable[[], None]:
    def task() -> None:
        try:
            _fetch_piece(source, file, piece, bar)
            with _disk(file):
                is_whole = file.partial.join()
            if is_whole:
                _finish(file)
        except WholeFileError:
            file.is_stream = True
        except IntegrityError:
            file.partial.discard()
            raise

    return task


def _run(tasks: Sequence[Callable[[], None]], source: Source, jobs: int) -> list[str]:
    """Run tasks; return what was wrong with files, and raise the first other failure after all have ended."""
    wrong, failure = [], None
    pool = ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="fetch")
    futures = [pool.submit(task) for task in tasks]
    try:
        for future in as_completed(futures):
            error = future.exception()
            if isinstance(error, IntegrityError):
                wrong.append(error.message)
            elif error is not None and not isinstance(error, StoppedError) and failure is None:
                failure = error
                break
    except BaseException:
        source.stop()
        raise
    finally:
        if failure:
            source.stop()
        pool.shutdown(cancel_futures=True)
    if wrong:
        return wrong
    if failure:
        raise failure
    return []


def _fetch_piece(source: Source, file: Wanted, piece: Piece, bar: Bar) -> None:
    tries = Tries()
    while not piece.is_complete and not file.is_stream:
        before = piece.position
        is_all = (piece.position, piece.stop) == (0, file.partial.size_bytes)
        try:
            with source.open(file.path, piece.position, None if is_all else piece.stop) as answer:
                _take(answer, file, piece, bar)
            if piece.is_complete:
                return
            failure = TransientError(f"the answer ends after {piece.position - before} bytes")
        except TransientError as error:
            failure = error
        if piece.position - before >= PROGRESS_BYTES:
            tries.begin_again()
        source.sleep(tries.pause_s(CollectError(f"{file.path}: {source.name}: {failure}", AGAIN), failure.wish_s))


def _take(answer: Answer, file: Wanted, piece: Piece, bar: Bar) -> None:
    """Append what the answer brings for the piece; what is there is skipped, what lies behind it is not read."""
    size = file.partial.size_bytes
    if answer.size_bytes not in (None, size):
        raise IntegrityError(f"{file.path}: the hub sends {answer.size_bytes} bytes and lists {size}", WRONG)
    if answer.first == 0 != piece.position and len(file.partial.pieces) > 1:
        raise WholeFileError
    if answer.first not in (0, piece.position):
        raise TransientError(f"the answer begins at byte {answer.first} instead of {piece.position}")
    skip = piece.position - answer.first
    for chunk in answer.chunks:
        data = chunk[skip : skip + piece.stop - piece.position]
        skip = max(0, skip - len(chunk))
        if data:
            with _disk(file):
                file.partial.append(piece, data)
            bar.update(len(data))
        if piece.is_complete:
            return


def _finish(file: Wanted) -> None:
    with _disk(file):
        file.partial.head.touch()
        digest = sha256_file(file.partial.head)
        if digest != file.sha256:
            raise IntegrityError(f"{file.path}: sha256 is {digest}, the hub lists {file.sha256}", WRONG)
        with file.partial.head.open("rb") as head:
            os.fsync(head.fileno())
        file.target.parent.mkdir(parents=True, exist_ok=True)
        file.partial.head.replace(file.target)


@contextmanager
def _disk(file: Wanted) -> Iterator[None]:
    """Tell trouble with this disk from trouble with the network: for the SDK both are an OSError."""
    try:
        yield
    except FerryError:
        raise
    except OSError as error:
        place = error.filename or file.partial.head.parent
        raise CollectError(f"{place}: {error.strerror or error}", f"make room there, then {AGAIN}") from error

"""The events of an answer while it is written: one process writes them into a file, any process follows them.

A conversation has one file, so one answer at a time. Its writer holds it locked, and the kernel lets go of the lock of
a process that was killed: so a file that nobody holds was left behind. It begins with the answer's id, then comes an
event a line. It goes when its answer has ended; whoever has it open reads it to its end (service.web.followers).
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from service.web.followers import LOOK_EVERY_S, FarFollower, Follower, head_of

FOLDER = "answers"
LOOK_FOR_STOPS_EVERY_S = 0.1
# Somebody who only looks whether a file is held may hold it for a moment.
PATIENCE_S = 0.1


class Busy(Exception):
    """Another answer of the conversation is being written."""


class Spool:
    """The file of one answer, held by its writer."""

    def __init__(self, path: Path, fd: int, on_stop: Callable[[], None]) -> None:
        self.answer_id = 0
        self.stop = on_stop
        self.has_ended = False
        self._path = path
        self._fd = fd
        self._changed = threading.Condition()
        self._size = 0
        self._holders = 1

    @property
    def stop_name(self) -> str:
        return stop_name(self._path.name, self.answer_id)

    def left(self) -> bytes:
        """Return what a writer that was killed has left in the file."""
        return os.pread(self._fd, os.fstat(self._fd).st_size, 0)

    def begin(self, answer_id: int) -> None:
        """Begin the file anew, for this answer."""
        self.answer_id = answer_id
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.write(head_of(answer_id))

    def write(self, line: bytes) -> None:
        os.write(self._fd, line)
        with self._changed:
            self._size += len(line)
            self._changed.notify_all()

    def end(self, line: bytes | None) -> None:
        """Write the last line and let go; with None the file stays, as if its writer had been killed."""
        try:
            if line is not None:
                self._leave_with(line)
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            with self._changed:
                self.has_ended = True
                self._changed.notify_all()
            self.release()

    def _leave_with(self, line: bytes) -> None:
        # The name goes first: whoever reads the last line may ask the next question.
        with suppress(OSError):  # a full disk: who follows finds the end in the database
            self._path.unlink(missing_ok=True)
            self._path.with_name(self.stop_name).unlink(missing_ok=True)
            self.write(line)

    def wait_beyond(self, offset: int) -> int:
        """Wait until the file is longer, or has ended, and return its length."""
        with self._changed:
            while self._size <= offset and not self.has_ended:
                self._changed.wait()
            return self._size

    def wait_ended(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.has_ended, timeout_s)

    def read(self, offset: int, end: int) -> bytes:
        return os.pread(self._fd, end - offset, offset)

    def hold(self) -> bool:
        """Keep the file open until `release`. False: it is closed already."""
        with self._changed:
            self._holders += self._holders > 0
            return self._holders > 0

    def release(self) -> None:
        with self._changed:
            self._holders -= 1
            if self._holders == 0:
                os.close(self._fd)


class Spools:
    """The folder of the answers that are being written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mine: dict[str, Spool] = {}
        self._is_looking = False
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, exist_ok=True)

    def lock(
        self, conversation_id: str, on_stop: Callable[[], None] = lambda: None, patience_s: float = PATIENCE_S
    ) -> Spool:
        """Take the conversation's file; give it back with `end`. `on_stop` is called when somebody stops the answer.

        Raises: Busy.
        """
        path = self._folder / conversation_id
        deadline = time.monotonic() + patience_s
        while (fd := _taken(path)) is None:
            if time.monotonic() > deadline:
                raise Busy
            time.sleep(LOOK_EVERY_S)
        spool = Spool(path, fd, on_stop)
        with self._lock:
            self._mine[conversation_id] = spool
            if not self._is_looking:
                self._is_looking = True
                threading.Thread(target=self._look_for_stops, daemon=True).start()
        return spool

    def end(self, conversation_id: str, spool: Spool, line: bytes | None) -> None:
        """Write the last line of an answer of this process, and let go of its file.

        With None the file is left behind: the database could not take the answer.
        """
        with self._lock:
            self._mine.pop(conversation_id, None)
        spool.end(line)

    def find(self, conversation_id: str) -> Follower | FarFollower | None:
        """Return the answer that is being written, to be closed; None when there is none or its writer was killed."""
        with self._lock:
            spool = self._mine.get(conversation_id)
        if spool is not None and spool.answer_id and spool.hold():
            return Follower(spool, spool.answer_id)
        with suppress(FileNotFoundError):
            return FarFollower.of(self._folder / conversation_id)
        return None

    def is_left(self, conversation_id: str) -> bool:
        """Tell whether there is a file, whoever holds it."""
        return (self._folder / conversation_id).exists()

    def stop(self, conversation_id: str, answer_id: int) -> None:
        """Tell the answer's writer, in whichever process, to stop."""
        with self._lock:
            spool = self._mine.get(conversation_id)
        if spool is None:
            (self._folder / stop_name(conversation_id, answer_id)).touch()
        elif spool.answer_id == answer_id:
            spool.stop()

    def names(self) -> list[str]:
        """Return the conversations that have a file, and take away stops that came too late."""
        names = sorted(path.name for path in self._folder.iterdir())
        for name in names:
            if "." in name:
                (self._folder / name).unlink(missing_ok=True)
        return [name for name in names if "." not in name]

    def wait_all_ended(self, timeout_s: float) -> None:
        """Wait for the answers of this process."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            running = list(self._mine.values())
        for spool in running:
            spool.wait_ended(max(deadline - time.monotonic(), 0))

    def _look_for_stops(self) -> None:
        while True:
            time.sleep(LOOK_FOR_STOPS_EVERY_S)
            with self._lock:
                running = list(self._mine.values())
                self._is_looking = bool(running)
            if not running:
                return
            stops = {entry.name for entry in os.scandir(self._folder) if "." in entry.name}
            for spool in running:
                if spool.stop_name in stops:
                    spool.stop()


def stop_name(conversation_id: str, answer_id: int) -> str:
    """Name the file that stops an answer. An id of a conversation has no dot, and a later answer has another name."""
    return f"{conversation_id}.{answer_id}"


def _taken(path: Path) -> int | None:
    """Open and lock the file of that name; None when another holds it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_ino == path.stat().st_ino:  # else its writer ended between the two calls
            return fd
    os.close(fd)
    return None

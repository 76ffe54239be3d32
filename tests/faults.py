"""Run the installer and let one of its state-changing steps fail: `python faults.py KIND NUMBER LOG PYZ ARGUMENT...`.

KIND is SIGKILL (the process ends before the step), ENOSPC or EIO (the step fails with it), or COUNT (nothing fails).
Steps are counted from 1 and written to LOG, one a line. A step is whatever Python reports to its audit hooks (PEP 578)
as a change of the file system, of a process or of a descriptor, and each write and sync, which it does not report.
tests/integration/test_installer_faults.py holds them against strace. Standard library only: it runs on a bare server.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVENTS = {
    "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate",
    "os.utime", "os.kill", "subprocess.Popen",
}  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
UNREPORTED = ("write", "pwrite", "fsync", "fdatasync", "sync")
# A signal that cannot be sent is no fault of a disk.
NO_ERROR = {"os.kill", "sync"}


class Faults:
    """Counts the steps of this process, not of those that it starts, and lets one of them fail."""

    def __init__(self, kind: str, number: int, log: Path) -> None:
        self.kind, self.number = kind, number
        self.count = 0
        self.pid = os.getpid()
        self.out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self.write = os.write
        self.is_busy = False

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Be told of an audit event."""
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
            self.step("open", arguments[0])
        elif event in EVENTS:
            self.step(event, arguments[0])

    def step(self, name: str, subject: object = "") -> None:
        """Count a step, and let it fail if it is the one."""
        if self.is_busy or os.getpid() != self.pid or subject == os.devnull:
            return
        self.is_busy = True
        try:
            self.count += 1
            self.write(self.out, f"{self.count} {name} {subject} {_site()}\n".encode(errors="replace"))
            # Marks the step for strace, between the system calls.
            os.path.lexists(f"/ferry-fault-point/{self.count}")
            if self.count == self.number:
                self._fail(name)
        finally:
            self.is_busy = False

    def _fail(self, name: str) -> None:
        if self.kind == "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.kind != "COUNT" and name not in NO_ERROR:
            number = getattr(errno, self.kind)
            raise OSError(number, os.strerror(number))

    def wrapped(self, name: str) -> Callable[..., Any]:
        """Return a function of `os` that is counted."""
        function = getattr(os, name)

        def counted(*arguments: Any, **more: Any) -> Any:
            self.step(name, arguments[0] if arguments else "")
            return function(*arguments, **more)

        return counted


def _site() -> str:
    """Return the line of the installer that is at work."""
    frame = sys._getframe(1)
    while frame.f_back and not {"installer", "checksums"} & set(Path(frame.f_code.co_filename).parts):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).stem}:{frame.f_lineno}"


def main() -> None:
    kind, number, log, program, *arguments = sys.argv[1:]
    sys.path.insert(0, program)
    sys.argv = [program, *arguments]
    from installer import cli

    faults = Faults(kind, int(number), Path(log))
    for name in UNREPORTED:
        setattr(os, name, faults.wrapped(name))
    sys.addaudithook(faults.hook)
    cli.main()


if __name__ == "__main__":
    main()

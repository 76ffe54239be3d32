"""The one door to other programs: list arguments, logged once; a failure carries the command and the end of stderr."""

import logging
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from checksums.errors import FerryError, HostError

log = logging.getLogger(__name__)
STDERR_LINES = 12


@dataclass(frozen=True)
class Completed:
    """What a program that ended left: its status and its output, undecoded."""

    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text, without the final newline."""
        return self.stdout.decode(errors="replace").rstrip("\n")


# Waits for the end of a program, and raises as `run` does.
Ending = Callable[[], Completed]


class ProcessError(FerryError):
    """A program ended with another status than 0."""

    def __init__(self, argv: Sequence[str], completed: Completed) -> None:
        tail = "\n".join(completed.stderr.decode(errors="replace").splitlines()[-STDERR_LINES:])
        super().__init__(f"{shlex.join(argv)}: exit status {completed.returncode}" + (f"\n{tail}" if tail else ""))
        self.completed = completed


def run(
    argv: Sequence[str | Path],
    *,
    input_bytes: bytes | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
    check: bool = True,
    user: str | None = None,
    group: str | None = None,
) -> Completed:
    """Run a program to its end and return its status and output.

    `user` and `group` are names to change to, with no supplementary groups (root only).

    Raises:
        HostError: the program is not on this host.
        ProcessError: it ended with another status than 0, or not within `timeout_s` (unless `check` is false).
    """
    words = [str(word) for word in argv]
    log.debug("run: %s", shlex.join(words))
    try:
        done = subprocess.run(
            words,
            input=input_bytes,
            stdin=subprocess.DEVNULL if input_bytes is None else None,
            capture_output=True,
            cwd=cwd,
            env=None if env is None else dict(env),
            timeout=timeout_s,
            check=False,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
        )
        completed = Completed(done.returncode, done.stdout, done.stderr)
    except FileNotFoundError as error:
        raise _absent(words) from error
    except subprocess.TimeoutExpired as error:
        completed = Completed(-1, error.stdout or b"", (error.stderr or b"") + f"no end after {timeout_s} s".encode())
    if check and completed.returncode != 0:
        raise ProcessError(words, completed)
    return completed


@contextmanager
def beside(
    argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[Ending]:
    """Run a program while the block does something else; yield what waits for its end. Its output is thrown away.

    One that still runs when the block ends is killed.

    Raises:
        HostError: the program is not on this host.
        ProcessError: on waiting: it ended with another status than 0.
    """
    words = [str(word) for word in argv]
    log.debug("run beside: %s", shlex.join(words))
    nothing = subprocess.DEVNULL
    # In memory: a pipe that nobody reads meanwhile would stop it.
    with os.fdopen(os.memfd_create("stderr", os.MFD_CLOEXEC), "r+b") as stderr:
        try:
            child = subprocess.Popen(
                words, stdin=nothing, stdout=nothing, stderr=stderr, cwd=cwd, env=None if env is None else dict(env)
            )
        except FileNotFoundError as error:
            raise _absent(words) from error

        def ending() -> Completed:
            status = child.wait()
            stderr.seek(0)
            completed = Completed(status, b"", stderr.read())
            if status != 0:
                raise ProcessError(words, completed)
            return completed

        try:
            yield ending
        finally:
            child.kill()
            child.wait()


def _absent(words: Sequence[str]) -> HostError:
    return HostError(f"{words[0]}: command not found", f"install it, then run this again: {words[0]}")

"""Unix sockets whose path may be long and whose file may be left over: a path comes in, a listening socket goes out."""

import os
import socket
from functools import lru_cache
from pathlib import Path

# sockaddr_un holds 108 bytes with the zero at the end (unix(7)).
MAX_PATH_BYTES = 107


class SocketError(Exception):
    """The socket cannot be had; `hint` says what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def short(path: Path) -> str:
    """Give a name for `path` that fits a socket address, for bind and connect by this process.

    A longer one goes through a descriptor of its folder, which stays open as long as the process.
    Raises: OSError when the folder cannot be opened.
    """
    if len(os.fsencode(path)) <= MAX_PATH_BYTES:
        return str(path)
    return f"/proc/self/fd/{_folder(path.parent)}/{path.name}"


@lru_cache
def _folder(path: Path) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def listen(path: Path, mode: int = 0o660) -> socket.socket:
    """Bind and listen at `path`; a file that a dead process left is replaced, a living one's is not.

    Raises: SocketError when another process answers there or the folder forbids it.
    """
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        _remove_stale(path)
        _bind(server, path, mode)
        server.listen(128)
    except BaseException as error:
        server.close()
        if isinstance(error, OSError):
            raise SocketError(f"{path}: {error.strerror}", f"look at the owner and mode of {path.parent}") from error
        raise
    return server


def _bind(server: socket.socket, path: Path, mode: int) -> None:
    # The umask, not a chmod afterwards: at no moment may anybody else connect.
    old = os.umask(0o777 & ~mode)
    try:
        server.bind(short(path))
    finally:
        os.umask(old)


def _remove_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(short(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            # So does a file that is no socket; binding will say that the name is taken.
            if path.is_socket():
                path.unlink()
            return
    raise SocketError(f"{path}: another process answers there", "stop it first: systemctl stop ferry, or: ferry stop")

"""Make the root folders that containers boot from: debootstrapped once, cached by what they hold.

In: a Debian release and the packages beyond the minimal set. Out: a folder under ~/.cache/ferry/roots that nothing
writes to afterwards (a container puts an overlay over it). Booting it is tests/container.py's, compiling in one
tests/old_python.py's.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path.home() / ".cache" / "ferry"
_kept: dict[Path, int] = {}

# What a Debian server has after an ordinary installation, as far as Ferry or its operator could notice.
# Not here, on purpose: python3-venv, pip, a compiler, curl. The installer has to do without them.
SERVER_PACKAGES = (
    "dbus",
    "iproute2",
    "libpam-systemd",
    "netbase",
    "openssh-client",
    "procps",
    "python3",
    "systemd",
    "systemd-sysv",
)


def server_root(release: str = "bookworm", packages: tuple[str, ...] = SERVER_PACKAGES) -> Path:
    """Return the cached root of a plain server, made by debootstrap on first use (about two minutes)."""
    digest = hashlib.sha256("\n".join(sorted(packages)).encode()).hexdigest()[:12]
    root = CACHE / "roots" / f"{release}-{digest}"
    root.parent.mkdir(parents=True, exist_ok=True)
    with locked(root.parent / f".lock-{release}"):
        if not root.is_dir():
            _make(root, release, packages)
    return root


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time make what it guards; the others wait and then find it made."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def keep_in_use(folder: Path) -> None:
    """Say, until this process ends, that it works with a folder of the cache."""
    if folder not in _kept:
        _kept[folder] = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(_kept[folder], fcntl.LOCK_SH)


def in_use(folder: Path) -> bool:
    """Tell whether a process has said that it works with a folder."""
    probe = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(probe)
    return False


def _make(root: Path, release: str, packages: tuple[str, ...]) -> None:
    for interrupted in root.parent.glob(f".making-{release}-*"):
        shutil.rmtree(interrupted)
    making = Path(tempfile.mkdtemp(prefix=f".making-{release}-", dir=root.parent))
    print(f"\ndebootstrap {release} into {root} (once, about 2 minutes)", file=sys.stderr, flush=True)
    debootstrap(making, release, packages)
    _settle(making)
    making.chmod(0o755)
    making.rename(root)


def debootstrap(folder: Path, release: str, packages: tuple[str, ...]) -> None:
    """Put a minimal Debian and these packages into an empty folder."""
    in_namespace(["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", release, str(folder)])


def in_namespace(argv: list[str]) -> None:
    """Run a command in a mount namespace of its own: what an interrupted one leaves mounted, rmtree would follow."""
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", *argv]
    with tempfile.TemporaryFile() as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
        log.seek(0)
        said = log.read().decode(errors="replace")[-2000:]
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed with {done.returncode}:\n{said}")


def _settle(root: Path) -> None:
    """Write what Debian's installer would have written, and drop what only the making of the root needed."""
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost\n")
    (root / "etc/hostname").write_text("server\n")
    (root / "etc/machine-id").write_text("")
    for archive in (root / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()

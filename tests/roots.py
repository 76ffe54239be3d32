"""Make the root folders that containers boot from: debootstrapped once, cached by what they hold.

In: a Debian release and the packages beyond the minimal set. Out: a folder under ~/.cache/ferry/roots that nothing
writes to afterwards (a container puts an overlay over it). Booting it is tests/container.py's.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path.home() / ".cache" / "ferry"

# What a Debian 12 server has after an ordinary installation, as far as Ferry or its operator could notice.
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
    with _locked(root.parent / ".lock"):
        if not root.is_dir():
            _make(root, release, packages)
    return root


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time make roots; the others wait and then find it made."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(root: Path, release: str, packages: tuple[str, ...]) -> None:
    for interrupted in root.parent.glob(".making-*"):
        shutil.rmtree(interrupted)
    making = Path(tempfile.mkdtemp(prefix=".making-", dir=root.parent))
    print(f"\ndebootstrap {release} into {root} (once, about 2 minutes)", file=sys.stderr, flush=True)
    log = making.with_suffix(".log")
    # A mount namespace of its own: an interrupted debootstrap leaves /proc mounted in there, and rmtree would follow.
    command = ["unshare", "--mount", "--propagation", "private", "debootstrap", "--variant=minbase"]
    command += [f"--include={','.join(packages)}", release, str(making)]
    with log.open("wb") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise RuntimeError(f"debootstrap failed with {done.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
    _settle(making)
    log.unlink()
    making.chmod(0o755)
    making.rename(root)


def _settle(root: Path) -> None:
    """Write what Debian's installer would have written, and drop what only the making of the root needed."""
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost\n")
    (root / "etc/hostname").write_text("server\n")
    (root / "etc/machine-id").write_text("")
    for archive in (root / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()

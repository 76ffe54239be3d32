"""Whether this kernel gives a process of ours a network namespace of its own, and with which command."""

import os
import shutil

from checksums import process

# In a user namespace one had better keep one's own number than seem to be root; an older unshare knows only the latter.
AS_ROOT = (["unshare", "--net"],)
AS_USER = (["unshare", "--map-current-user", "--net"], ["unshare", "--map-root-user", "--net"])


def command() -> list[str]:
    """Return the words to put before a command so that it has no network; none where the kernel does not allow it."""
    if shutil.which("unshare") is None:
        return []
    wrappers = AS_ROOT if os.geteuid() == 0 else AS_USER
    return next((wrapper for wrapper in wrappers if _works(wrapper)), [])


def _works(wrapper: list[str]) -> bool:
    return process.run([*wrapper, "true"], check=False).returncode == 0

"""What a bundle's members are called and in which order they stand (contract, section 3)."""

import re
from collections.abc import Iterable

from checksums.errors import IntegrityError

FORMAT = 1
SUMS = "SHA256SUMS"
MANIFEST = "manifest.json"
INSTALLER = "install.pyz"
SBOM = "sbom.cdx.json"
INTERPRETER_FOLDER = "payload/python/"
WHEELS = "payload/wheels/"
TRUST_FOLDER = "payload/trust/"
NEXT_SIGNERS = f"{TRUST_FOLDER}allowed_signers"
# Where a release's files stand on the server follows from these, so that none can stand where another one does.
FOLDERS = ("licenses/", "payload/app/", "payload/model/", INTERPRETER_FOLDER, TRUST_FOLDER, WHEELS)
MAX_SIGNATURES = 16
# A path that every shell, tar and file system takes as it stands: no blanks, no control characters, no leading dash.
PART = re.compile(r"[A-Za-z0-9_.+@=,!~%()\[\]{}^#&$'-]+(?: [A-Za-z0-9_.+@=,!~%()\[\]{}^#&$'-]+)*")
MAX_PATH_BYTES = 240
# With the longest name that stands in a head, the top folder's fits ustar's first field: all that install.sh reads.
MAX_TOP_BYTES = 100 - len(f"/{SUMS}.{MAX_SIGNATURES}.sig")


def signature_name(number: int, signed: str = SUMS) -> str:
    """Return the name of the n-th signature over a file, counted from 1."""
    return f"{signed}.sig" if number == 1 else f"{signed}.{number}.sig"


def safe_path(path: str) -> str:
    """Return a relative path that stays below its folder on every file system.

    Raises:
        IntegrityError: it is absolute, climbs, is empty or too long, or has characters outside plain ASCII.
    """
    parts = path.split("/")
    good = all(PART.fullmatch(part) and part not in {".", ".."} and not part.startswith("-") for part in parts)
    if not good or len(path) > MAX_PATH_BYTES:
        raise IntegrityError(f"{path[:80]!r}: not a path that a bundle may carry", "the bundle was not made by Ferry")
    return path


def member_order(paths: Iterable[str]) -> list[str]:
    """Return the members that come behind SHA256SUMS and its signatures, in the order of the tarball."""
    return sorted(paths, key=lambda path: (_rank(path), path.encode()))


def _rank(path: str) -> int:
    head = {MANIFEST: 0, INSTALLER: 1}
    return head.get(path, 2 if path.startswith(INTERPRETER_FOLDER) else 3)

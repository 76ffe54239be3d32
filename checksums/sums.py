"""SHA256SUMS: the text that is signed, in the format that coreutils' `sha256sum -c` reads."""

import re
from collections.abc import Mapping

from checksums.errors import IntegrityError
from checksums.layout import SUMS, safe_path

LINE = re.compile(r"([0-9a-f]{64})  (.+)")
HINT = "copy the bundle again from where it was made"


def render(digests: Mapping[str, str]) -> bytes:
    """Return the file's bytes for path -> SHA-256 in hexadecimal, sorted by the bytes of the path."""
    lines = (f"{digests[path]}  {path}\n" for path in sorted(digests, key=str.encode))
    return "".join(lines).encode()


def parse(data: bytes) -> dict[str, str]:
    """Return path -> SHA-256 in hexadecimal.

    Raises:
        IntegrityError: it is anything but the very bytes that `render` gives for what it lists.
    """
    try:
        lines = data.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{SUMS}: not a list of digests", HINT) from error
    digests: dict[str, str] = {}
    for number, line in enumerate(lines[:-1], 1):
        found = LINE.fullmatch(line)
        if not found or found[2] in digests:
            raise IntegrityError(f"{SUMS}: line {number} is malformed or occurs twice", HINT)
        digests[safe_path(found[2])] = found[1]
    if not digests or render(digests) != data:
        raise IntegrityError(f"{SUMS}: not in canonical form", HINT)
    return digests

"""A delta: a bundle's artifacts and a server's inventory come in, the bundle without what that server has goes out.

The manifest lists everything all the same, and says what is left out: the server takes the rest from its own releases.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bundle.artifacts import Artifact
from bundle.components import RECORD
from checksums.errors import IntegrityError, UsageError
from checksums.inventory import MAX_BYTES, Inventory
from checksums.layout import INSTALLER
from checksums.manifest import Base, Manifest

# The installer runs before any release is looked at; the record lets `inspect` and `diff` name the page's scripts.
CARRIED = {INSTALLER, RECORD}


def read(path: Path) -> Inventory:
    """Read an inventory file.

    Raises:
        UsageError: there is no such file.
        IntegrityError: it is no inventory, or it was changed on its way.
    """
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: not a file", "give the file that ferry inventory wrote")
    try:
        with path.open("rb") as file:
            return Inventory.parse(file.read(MAX_BYTES + 1))
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error.message}", error.hint) from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "give the file that ferry inventory wrote") from error


def leave_out(manifest: Manifest, artifacts: Sequence[Artifact], base: Inventory) -> tuple[Manifest, list[Artifact]]:
    """Return the delta's manifest and what it carries: all that `base` does not have, and always CARRIED."""
    left_out = {one.path for one in artifacts if one.path not in CARRIED and base.has(one.entry)}
    paths = tuple(sorted(left_out, key=str.encode))
    delta = replace(manifest, base=Base(base.release, base.sha256, paths))
    return Manifest.parse(delta.render()), [one for one in artifacts if one.path not in left_out]

"""The medium that a container sees at /media/usb: files of a test's choice, and the list of a key for small bundles."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import small_bundle
from container import Container
from small_bundle import Recipe


@dataclass(frozen=True)
class Medium:
    """A folder on this side, and the key whose list of signers lies in it as `list`."""

    folder: Path
    key: Path

    @property
    def recipe(self) -> Recipe:
        """Return a bundle for Debian 12's own Python."""
        return Recipe(keys=(self.key,), python="3.11")


def insert(container: Container, *files: Path) -> Medium:
    """Make a medium with these files and show it to a container that is not started yet."""
    folder = container.folder / "medium"
    folder.mkdir()
    for file in files:
        shutil.copy(file, folder)
    key = small_bundle.make_key(container.folder / "key")
    shutil.copy(key.with_suffix(".allowed"), folder / "list")
    container.show("/media/usb", folder)
    return Medium(folder, key)

"""A small bundle without what a server's inventory says it has, made by the build side's own code."""

from __future__ import annotations

from pathlib import Path

import small_bundle
from small_bundle import Members, Recipe

from bundle import artifacts, delta
from checksums.inventory import Inventory
from checksums.layout import MANIFEST, member_order
from checksums.manifest import Manifest


def make(folder: Path, recipe: Recipe, base: Inventory) -> Path:
    """Write the delta into a folder and return its path."""
    manifest, files = of(recipe, base)
    return small_bundle.pack(folder / f"{recipe.name}.tar", recipe.name, members(recipe, manifest.render(), files))


def of(recipe: Recipe, base: Inventory) -> tuple[Manifest, dict[str, bytes]]:
    """Return the delta's manifest, and path -> content of what it carries."""
    full = dict(small_bundle.members(recipe))
    manifest = Manifest.parse(full[MANIFEST])
    everything = [artifacts.of_bytes(file.path, full[file.path], file.mode) for file in manifest.files]
    manifest, carried = delta.leave_out(manifest, everything, base)
    return manifest, {one.path: full[one.path] for one in carried}


def members(recipe: Recipe, manifest: bytes, files: dict[str, bytes]) -> Members:
    """Return the members of a bundle with any manifest, signed."""
    listed = files | {MANIFEST: manifest}
    return [*small_bundle.signed(recipe, listed), *((path, listed[path]) for path in member_order(listed))]

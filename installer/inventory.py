"""What this server holds that a delta may leave out: releases and store come in, digests and whole files go out.

Nothing is believed: each file is hashed before it is named in an inventory or becomes part of a release, and a damaged
one counts as not there.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from checksums.errors import FerryError, HostError
from checksums.hashing import OnBytes, sha256_file
from checksums.inventory import Inventory
from checksums.layout import INSTALLER, MANIFEST
from checksums.manifest import File, Manifest
from installer.places import Places
from installer.progress import Progress
from installer.release import installed_path
from installer.state import State
from installer.verify import VerifiedBundle

NAMED = 5


def take(places: Places, current: State, progress: Progress) -> Inventory:
    """Return what the kept releases hold, every file of it hashed now.

    Raises:
        FerryError: a release's own manifest is gone or damaged.
    """
    listed = [file for name in _kept(current) for file in _files(places.release(name))]
    found = whole(listed, places, progress, "hashing what is here")
    files = {file.sha256: file.size for file in listed if file.sha256 in found and file.path != INSTALLER}
    return Inventory(current.release, current.sequence, files)


def find(bundle: VerifiedBundle, places: Places, progress: Progress) -> Mapping[str, Path]:
    """Return SHA-256 -> file for all that a delta leaves out; a full bundle leaves out nothing.

    Raises:
        HostError: something of it is not here, or is damaged here; the first few are named.
    """
    base = bundle.manifest.base
    if base is None:
        return {}
    found = whole(bundle.left_out, places, progress, "hashing what the delta counts on")
    lacking = [file.path for file in bundle.left_out if file.sha256 not in found]
    if lacking:
        more = f" and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
        raise HostError(
            f"this is a delta on {base.release}; of the {len(base.files)} files that it leaves out, this server lacks"
            f" {len(lacking)}: {', '.join(lacking[:NAMED])}{more}",
            "install the full bundle, or build a delta on what is here: ferry inventory --out inventory.json",
        )
    return found


def _kept(current: State) -> list[str]:
    return [name for name in (current.release, current.previous) if name]


def _files(release: Path) -> list[File]:
    path = release / MANIFEST
    try:
        return list(Manifest.parse(path.read_bytes()).files)
    except OSError as error:
        raise FerryError(f"{path}: {error.strerror}", "see what else is damaged: ferry verify") from error


def whole(wanted: Iterable[File], places: Places, progress: Progress, text: str) -> dict[str, Path]:
    """Return SHA-256 -> a file of this server that has it, for those wanted that are here and undamaged."""
    unique = {file.sha256: file for file in wanted}
    held = _held(places)
    with (
        progress.bar(text, sum(file.size for file in unique.values())) as on_bytes,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        found = pool.map(lambda file: _first(file, held.get(file.sha256, []), places, on_bytes), unique.values())
        return {digest: path for digest, path in zip(unique, found, strict=True) if path}


def _held(places: Places) -> dict[str, list[Path]]:
    """Return SHA-256 -> where the releases below the prefix say that they have it."""
    held: dict[str, list[Path]] = {}
    for release, file in _listed(places):
        held.setdefault(file.sha256, []).append(release / installed_path(file.path))
    return held


def _listed(places: Places) -> Iterator[tuple[Path, File]]:
    for release in sorted(places.releases.glob("*")):
        try:
            files = _files(release)
        except FerryError:
            # Damaged, or left by a kill: what cannot be read holds nothing.
            continue
        yield from ((release, file) for file in files)


def _first(file: File, paths: list[Path], places: Places, on_bytes: OnBytes) -> Path | None:
    for path in (places.stored(file.sha256), *paths):
        try:
            is_there = not path.is_symlink() and path.is_file() and path.stat().st_size == file.size
            if is_there and sha256_file(path, on_bytes) == file.sha256:
                return path
        except OSError:
            continue
    return None

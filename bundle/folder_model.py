"""A folder of weights on this host -> the same Listing that a hub gives, with digests taken now.

For what the ModelScope SDK fetched earlier, or a model of one's own. Left out by rule: everything whose name begins
with a dot (the SDK's records and locks, git's) and `*.lock`. Refused: what an unfinished download leaves, links that
lead out of the folder, and anything that is no file. Nothing in the folder is ever changed.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bundle.hub import HubFile, Listing
from bundle.profiles import FolderModel
from checksums import sums
from checksums.errors import IntegrityError, UsageError
from checksums.hashing import sha256_file
from checksums.layout import safe_path

UNFINISHED = re.compile(r".*(\.(incomplete|parallel_tmp|part|partial|tmp|download|crdownload|aria2)|_\d+_\d+)")
# The old SDK writes "Revision:master,CreatedAt:1706672042"; the new one names a folder below snapshots/ for it.
RECORDED = re.compile(r"Revision:([A-Za-z0-9][A-Za-z0-9._-]{0,99})(,|\s|$)")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
RECORD, SNAPSHOTS = ".mv", "snapshots"
HINT = "make a folder that holds the model and nothing else, for example with: cp -rL"


def listing(model: FolderModel) -> Listing:
    """Return what the folder holds; its commit is the digest of the sorted list, as `sha256sum * | sha256sum` gives it.

    Raises:
        UsageError: there is no such folder, or it cannot be read.
        IntegrityError: it holds what cannot be carried; everything is named at once.
    """
    if not model.path.is_dir():
        raise UsageError(f"{model.path}: no such folder", "correct the profile: [model] path")
    try:
        paths = _paths(model)
        with ThreadPoolExecutor() as pool:
            digests = list(pool.map(lambda path: sha256_file(model.path / path), paths))
            sizes = list(pool.map(lambda path: (model.path / path).stat().st_size, paths))
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}", "the folder must be readable") from error
    files = tuple(map(HubFile, paths, sizes, digests))
    rendered = sums.render(dict(zip(paths, digests, strict=True)))
    return Listing(model.id, _revision(model), f"sha256:{hashlib.sha256(rendered).hexdigest()}", files)


def _paths(model: FolderModel) -> list[str]:
    faults, paths = [], []
    for path in _walk(model.path):
        name = path.relative_to(model.path).as_posix()
        if fault := _fault(path, model.path):
            faults.append(f"{name[:200]!a} {fault}")
        else:
            paths.append(name)
    if faults:
        raise IntegrityError("\n".join(f"{model.id}: {fault}" for fault in sorted(faults)), HINT)
    return sorted(paths, key=str.encode)


def _walk(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=fail):
        links = [name for name in folders if Path(place, name).is_symlink()]
        folders[:] = [name for name in folders if not name.startswith(".") and name not in links]
        for name in (*links, *files):
            if not name.startswith(".") and not name.endswith(".lock"):
                yield Path(place, name)


def _fault(path: Path, folder: Path) -> str:
    if UNFINISHED.fullmatch(path.name):
        return "is part of a download that was not finished"
    if path.is_symlink() and not _stays_in(path, folder):
        return "is a link that leads out of the folder"
    if not path.is_file():
        return "is no file"
    try:
        safe_path(path.relative_to(folder).as_posix())
    except IntegrityError:
        return "has a name that no bundle may carry"
    return ""


def _stays_in(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a link to itself
        return False


def _revision(model: FolderModel) -> str:
    """Return the revision that the SDK noted for the folder, else what stands for none."""
    record = model.path / RECORD
    if record.is_file():
        with record.open(errors="replace") as file:
            found = RECORDED.match(file.read(200))
        if found:
            return found[1]
    place = model.path.resolve()
    is_snapshot = place.parent.name == SNAPSHOTS and bool(REVISION.fullmatch(place.name))
    return place.name if is_snapshot else model.revision

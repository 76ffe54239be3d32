"""A release on disk: a verified bundle comes in, a folder with its files goes out; what nobody uses is pruned.

Weights, wheels and the interpreter's archive live once in the store, by digest, and are hard links in every release
that has them. Files are hashed while they are written, into a private staging folder; a release gets its place by one
rename, when all of it is proved. What a delta leaves out comes from the releases and the store that are here.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, cast

from checksums import process
from checksums.errors import IntegrityError
from checksums.hashing import OnBytes, Sink, copy_hashing, sha256_file
from checksums.layout import INTERPRETER_FOLDER
from checksums.manifest import File
from checksums.new_file import NewFile
from installer.files import Changes
from installer.places import Places
from installer.verify import Discard, VerifiedBundle, copy_payload

STAGING = ".staging-"
PAYLOAD = "payload/"
# Whose signatures counted when the release was installed, one fingerprint a line.
SIGNERS = "SHA256SUMS.signers"
SHARED = ("payload/model/", "payload/wheels/", INTERPRETER_FOLDER)


def name_of(bundle: VerifiedBundle) -> str:
    """Return the release's id: version, sequence and the first letters of the digest of all that is in it."""
    manifest = bundle.manifest
    return f"{manifest.version}-{manifest.sequence}-{manifest.identity[:8]}"


def installed_path(member: str) -> str:
    """Return where a member of the bundle stands below its release's folder."""
    return member.removeprefix(PAYLOAD)


def stage(places: Places) -> Path:
    """Make a private folder on the prefix' file system; whatever ends the change removes it."""
    return Path(tempfile.mkdtemp(prefix=STAGING, dir=places.prefix))


def clearing(staging: Path) -> AbstractContextManager[object]:
    """Remove a staging folder beside the block, as far as that comes: what is left goes with the end of the change.

    uv leaves a second name of each file there. Taking those away is for the disk, while others load a model.
    """
    return process.beside(["rm", "-rf", "--", staging])


def unpack(bundle: VerifiedBundle, places: Places, folder: Path, base: Mapping[str, Path], on_bytes: OnBytes) -> Path:
    """Write a bundle below the staging folder and return the release's folder there.

    `base` is SHA-256 -> file of this server, for what a delta leaves out.

    Raises:
        IntegrityError: something differs from the signed list.
    """
    target = folder / "release"
    target.mkdir()
    for name, data in bundle.head.items():
        (target / name).write_bytes(data)
    (target / SIGNERS).write_text("".join(f"{fingerprint}\n" for fingerprint in bundle.signers))
    writer = _Writer(places, folder, target)
    try:
        copy_payload(bundle, writer.open, on_bytes)
        for file in bundle.left_out:
            _take(file, base[file.sha256], writer)
    finally:
        writer.close()
    for file in filter(_is_shared, bundle.manifest.files):
        _link(_source(places, folder, file.sha256), target / installed_path(file.path))
    return target


def publish(places: Places, folder: Path, target: Path, name: str, changes: Changes) -> Path:
    """Move the proved payload into the store and the release to its place; return that place."""
    for staged in sorted((folder / "objects").iterdir()):
        place = places.stored(staged.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(place)
    final = places.release(name)
    final.parent.mkdir(exist_ok=True)
    # It may be there, from before a rollback: it is replaced by its equal.
    changes.replace(target, final)
    return final


def prune(places: Places, keep: set[str]) -> None:
    """Remove every release but those to keep, then payload, environments and interpreters that none uses."""
    for release in _children(places.releases):
        if release.name not in keep:
            shutil.rmtree(release)
    used = {(release / "venv").resolve() for release in _children(places.releases)}
    for venv in _children(places.venvs):
        if venv.resolve() not in used:
            shutil.rmtree(venv)
    programs = [(venv / "bin" / "python").resolve() for venv in _children(places.venvs)]
    for python in _children(places.pythons):
        if not any(program.is_relative_to(python.resolve()) for program in programs):
            shutil.rmtree(python)
    for stored in places.store.glob("*/*"):
        if stored.stat().st_nlink == 1:
            stored.unlink()
    for folder in (*_children(places.store), places.store, places.venvs, places.pythons, places.releases):
        if folder.is_dir() and not _children(folder):
            folder.rmdir()


class _Writer:
    """Opens one file after the other for `copy_payload`, closing the one before."""

    def __init__(self, places: Places, folder: Path, target: Path) -> None:
        self.places = places
        self.folder = folder
        self.target = target
        self.current: NewFile | None = None
        (folder / "objects").mkdir()

    def open(self, file: File) -> Sink:
        """Open the place of a file, or throw away what the store has already."""
        self.close()
        path = self.folder / "objects" / file.sha256 if _is_shared(file) else self.target / installed_path(file.path)
        if _is_shared(file) and (path.exists() or _is_stored(self.places, file)):
            return Discard()
        return self._create(path, file)

    def _create(self, path: Path, file: File) -> Sink:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.current = NewFile(path, int(file.mode, 8))
        return self.current

    def close(self) -> None:
        if self.current:
            self.current.close()
        self.current = None


def _take(file: File, source: Path, writer: _Writer) -> None:
    """Add a file that this server has, and that was hashed just now; what the store holds is only linked."""
    if source == writer.places.stored(file.sha256) and _is_shared(file):
        return
    with source.open("rb", buffering=0) as stream:
        if copy_hashing(cast(BinaryIO, stream), writer.open(file), file.size) != file.sha256:
            raise IntegrityError(f"{source}: changed while it was read", "see what else is damaged: ferry verify")


def _is_shared(file: File) -> bool:
    return file.path.startswith(SHARED)


def _is_stored(places: Places, file: File) -> bool:
    """Say whether the store has a file, undamaged."""
    place = places.stored(file.sha256)
    return place.is_file() and place.stat().st_size == file.size and sha256_file(place) == file.sha256


def _source(places: Places, folder: Path, sha256: str) -> Path:
    staged = folder / "objects" / sha256
    return staged if staged.exists() else places.stored(sha256)


def _link(source: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, path)


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []

"""Put back what is missing or damaged: from files that are whole here or that a bundle brought, or made anew from them.

Every place gets its new file, folder or link by one rename within the caller's transaction. A file that several
releases share is damaged under all of its names: the new one goes into the store and to each of them.
"""

import os
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from checksums.hashing import Sink
from checksums.layout import INSTALLER, MANIFEST, MAX_SIGNATURES, SUMS, signature_name
from checksums.manifest import File
from checksums.new_file import NewFile
from installer import environment, files, interpreter, trees
from installer.areas import VENV_LINK, Installed, payload
from installer.files import Changes
from installer.places import Places
from installer.progress import Progress
from installer.release import SHARED, SIGNERS, installed_path
from installer.verify import Discard, VerifiedBundle, copy_payload

APP = "app"
HEAD_FILES = (SUMS, MANIFEST, SIGNERS, *(signature_name(number) for number in range(1, MAX_SIGNATURES + 1)))


def take(bundle: VerifiedBundle, wanted: Collection[str], folder: Path, progress: Progress) -> dict[str, Path]:
    """Read a bundle to its end, and keep the files whose SHA-256 is wanted; return digest -> file in `folder`.

    Raises:
        IntegrityError: the bundle is damaged.
    """
    taker = _Taker(wanted, folder)
    program = bundle.manifest.file(INSTALLER)
    if program and program.sha256 in wanted:
        (folder / program.sha256).write_bytes(bundle.head[INSTALLER])
        taker.taken[program.sha256] = folder / program.sha256
    with progress.bar("verifying the bundle", sum(file.size for file in bundle.payload)) as on_bytes:
        try:
            copy_payload(bundle, taker.open, on_bytes)
        finally:
            taker.close()
    return taker.taken


class _Taker:
    """Opens one wanted file after the other for `copy_payload`, closing the one before."""

    def __init__(self, wanted: Collection[str], folder: Path) -> None:
        self.wanted = wanted
        self.folder = folder
        self.taken: dict[str, Path] = {}
        self.current: NewFile | None = None

    def open(self, file: File) -> Sink:
        """Open the place of a file that is wanted and not there yet."""
        self.close()
        if file.sha256 not in self.wanted or file.sha256 in self.taken:
            return Discard()
        self.taken[file.sha256] = self.folder / file.sha256
        self.current = NewFile(self.taken[file.sha256])
        return self.current

    def close(self) -> None:
        if self.current:
            self.current.close()
        self.current = None


class Restorer:
    """Restores one thing after the other in the folder of a release, or beside it.

    `sources` is SHA-256 -> a whole file; `staging` is on the prefix' file system; `moved` collects where what stood in
    a place waits for the commit.
    """

    def __init__(self, places: Places, changes: Changes, staging: Path) -> None:
        self.places = places
        self.changes = changes
        self.staging = staging
        self.sources: dict[str, Path] = {}
        self.moved: set[Path] = set()
        self._count = 0

    def remove(self, path: Path) -> None:
        """Take away what stands there."""
        if os.path.lexists(path):
            self.moved.add(files.aside(path))
            self.changes.remove(path)

    def folder(self, path: Path) -> None:
        """Make a folder, in the place of whatever else stands there."""
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            self.remove(path)
        self.changes.folder(path)

    def link(self, path: Path, target: str) -> None:
        """Make a link, in the place of whatever else stands there."""
        if not path.is_symlink():
            self.remove(path)
        self.changes.link(path, target)

    def shared(self, file: File, releases: Sequence[Installed]) -> None:
        """Put a file into the store, and into every release that has it."""
        stored, source = self.places.stored(file.sha256), self.sources[file.sha256]
        if source != stored:
            self._put(self._linked(source, file), stored)
        for release in releases:
            for one in release.manifest.files:
                path = release.folder / installed_path(one.path)
                if one.sha256 == file.sha256 and one.path.startswith(SHARED) and not _is_same(path, stored):
                    self._put(self._linked(stored, file), path)

    def own(self, file: File, release: Installed) -> None:
        """Put a file into its place in a release that shares it with nobody."""
        self._put(self._copied(file), release.folder / installed_path(file.path))

    def head(self, bundle: VerifiedBundle, folder: Path) -> None:
        """Write what stands before the payload, and who signed."""
        signers = "".join(f"{fingerprint}\n" for fingerprint in bundle.signers).encode()
        for name, data in {**bundle.head, SIGNERS: signers}.items():
            if not (folder / name).is_file():
                self.remove(folder / name)
            self.changes.file(folder / name, data)

    def python(self, release: Installed, file: File) -> None:
        """Unpack the carried interpreter again."""
        made = interpreter.build(file, self.places, self._new(), release.folder, release.manifest.target.python)
        self._put(made, interpreter.home(file, self.places))

    def venv(self, release: Installed, python: Path) -> None:
        """Make an environment again, from the release's own wheels."""
        self._put(environment.build(release.manifest, self.places, self._new(), release.folder, python), release.venv)

    def app(self, release: Installed) -> None:
        """Lay the app down again with its bytecode."""
        made = self._new() / APP
        for file in release.manifest.files:
            path = Path(installed_path(file.path))
            if path.parts[0] == APP:
                target = made / path.relative_to(APP)
                target.parent.mkdir(parents=True, exist_ok=True)
                self._copied(file, release.folder / path).rename(target)
        with environment.compiling_app(release.venv / "bin" / "python", made, release.folder / APP):
            pass
        environment.add_kernels(release.venv, made, self.places)
        self._put(made, release.folder / APP)
        self.link(release.folder / VENV_LINK, f"../../{self.places.venvs.name}/{release.venv.name}")

    def list(self, release: Installed) -> None:
        """Write the list of a release anew, when all that it lists is as it has to be; nothing else stays."""
        folder, wanted = release.folder, payload(release.manifest)
        moved = {str(path.relative_to(folder)) for path in self.moved if path.is_relative_to(folder)}
        tops = {path.split("/")[0] for path in (*wanted, *HEAD_FILES, VENV_LINK, trees.LIST, *moved)}
        for name in sorted(path.name for path in folder.iterdir()):
            if name not in tops:
                self.remove(folder / name)
                moved.add(files.aside(folder / name).name)
        entries = trees.record(folder, wanted.keys() | moved)
        path = folder / trees.LIST
        if not path.is_file() or path.is_symlink():
            self.remove(path)
        self.changes.file(path, trees.render(entries), trees.LIST_MODE)

    def _put(self, staged: Path, place: Path) -> None:
        missing = [path for path in (place.parent, *place.parent.parents) if path.is_relative_to(self.places.prefix)]
        for path in reversed(missing):
            self.folder(path)
        if os.path.lexists(place):
            self.moved.add(files.aside(place))
        self.changes.replace(staged, place)

    def _linked(self, source: Path, file: File) -> Path:
        staged = self._new() / "file"
        os.link(source, staged)
        staged.chmod(int(file.mode, 8))
        return staged

    def _copied(self, file: File, there: Path | None = None) -> Path:
        """Copy a file that is whole into the staging folder; what is not among the sources is whole `there`."""
        staged = self._new() / "file"
        shutil.copyfile(self.sources.get(file.sha256) or there or Path(), staged)
        staged.chmod(int(file.mode, 8))
        return staged

    def _new(self) -> Path:
        self._count += 1
        folder = self.staging / str(self._count)
        folder.mkdir()
        return folder


def _is_same(path: Path, other: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.samefile(other)

"""The interpreter that came with a release: its archive goes in, a folder of `pythons/` goes out, to run everything on.

The archive is a payload file like any other: hashed while it was copied, in the store, compared by `verify`. It is
unpacked here from those very bytes, by our own reader: plain files and folders first, links when all of it was proved.
What came of it is listed, so that every change is found.
Folders are named by the archive's digest, so that releases with the same interpreter share one.
"""

import os
from contextlib import AbstractContextManager
from pathlib import Path

from checksums import archive, process
from checksums.archive import Entry
from checksums.errors import HostError, IntegrityError
from checksums.hashing import Sink
from checksums.layout import INTERPRETER_FOLDER
from checksums.manifest import File, Manifest
from checksums.new_file import NewFile
from checksums.process import ProcessError
from installer import trees
from installer.files import Changes
from installer.places import Places
from installer.release import installed_path

# What no start imports, and what only a builder needs.
NOT_COMPILED = r"/(tests?|idlelib|lib2to3|tkinter|turtledemo|ensurepip|site-packages|pydoc_data|config-[^/]*)/"
# What an interpreter may lack where it was not made with care, and the service needs.
PROBE = "import asyncio, bz2, ctypes, lzma, multiprocessing, sqlite3, ssl, zlib"


def carried(manifest: Manifest) -> File | None:
    """Return the interpreter archive of a release, None where it runs on the server's own Python."""
    return next((file for file in manifest.files if file.path.startswith(INTERPRETER_FOLDER)), None)


def home(file: File, places: Places) -> Path:
    """Return the folder below the prefix in which a carried interpreter stands, or will."""
    return places.pythons / file.sha256[:32]


def program(file: File, places: Places, python: str) -> Path:
    """Return the program of a carried interpreter, Python "3.11", below the prefix; there or not."""
    return home(file, places) / "bin" / f"python{python}"


def make(file: File, places: Places, staging: Path, release: Path, python: str, changes: Changes) -> None:
    """Put the carried interpreter, Python "3.11", below the prefix, unless it stands there undamaged.

    Raises:
        IntegrityError: its archive holds what no interpreter archive may.
        HostError: it does not run on this server.
    """
    final = home(file, places)
    if final.is_dir() and trees.is_whole(final):
        return
    made = build(file, places, staging, release, python)
    final.parent.mkdir(exist_ok=True)
    changes.replace(made, final)


def build(file: File, places: Places, staging: Path, release: Path, python: str) -> Path:
    """Unpack the carried interpreter in the staging folder, with the list of all that is in it; return it there."""
    final, made = home(file, places), staging / "python"
    unpack(release / installed_path(file.path), made)
    runs = made / "bin" / f"python{python}"
    _prove(runs)
    # Tracebacks name the final place; what cannot be compiled is left as it is.
    words = ["-m", "compileall", "-q", "-j", "0", "-x", NOT_COMPILED, "-s", str(made), "-p", str(final)]
    process.run([runs, "-I", "-B", *words, made / "lib"], check=False)
    trees.write(made, trees.record(made))
    return made


def unpack(source: Path, folder: Path) -> None:
    """Unpack an archive into a folder that is made for it; files get modes that nobody can write to.

    Raises:
        IntegrityError: it is no interpreter archive, or not safe to unpack.
    """
    folder.mkdir()
    entries = _read(source, lambda entry: _create(folder / entry.path, entry))
    for entry in entries:
        path = folder / entry.path
        if entry.kind == "folder":
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind == "link":
            path.symlink_to(entry.target)
        elif entry.kind == "twin":
            os.link(folder / entry.target, path)
        else:
            # Bytecode that the archive has is valid for a source of this very time.
            os.utime(path, (entry.mtime, entry.mtime))


def _read(source: Path, target: archive.Target) -> list[Entry]:
    try:
        with source.open("rb") as stream:
            return archive.read(stream, target)
    except IntegrityError as error:
        raise IntegrityError(f"{source.name}: {error.message}", error.hint) from error


def _create(path: Path, entry: Entry) -> AbstractContextManager[Sink]:
    """Open a new file below a folder that holds no link yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o555 if entry.is_executable else 0o444
    file = NewFile(path, mode)
    path.chmod(mode)
    return file


def _prove(program: Path) -> None:
    """Run it once, with what the service will import."""
    try:
        process.run([program, "-I", "-B", "-c", PROBE])
    except (ProcessError, OSError) as error:
        reason = str(getattr(error, "message", error)).strip().splitlines()[-1]
        text = f"the carried Python does not run here: {reason}"
        raise HostError(text, "get a bundle built for this server") from error

"""Make an interpreter archive as python-build-standalone lays one out, from a CPython that is installed already.

In: the root folder of a system (this one, or the one that tests/old_python.py compiled in) and the prefix of its
Python. Out: a .tar.gz with `python/bin`, `python/lib` and the libraries that it needs beside glibc, found through
RPATH, so that it runs wherever it is unpacked. Kept under ~/.cache/ferry.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import old_python
from roots import CACHE, locked

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
GLIBC = re.compile(r"(ld-linux.*|lib(c|m|dl|pthread|rt|util|nsl|resolv|crypt|anl)\.so\..*)")
LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "site-packages"}
LEFT_OUT |= {"dist-packages", "__pycache__", "pydoc_data"}
NEEDED = re.compile(rb"PYTHON SOFTWARE FOUNDATION LICENSE")


def of_oldest() -> Path:
    """Return an archive of a Python that was compiled on Debian 11, and runs there and on what came later."""
    with _kept(old_python.PYTHON, old_python.recipe()) as (kept, folder):
        if not kept.is_file():
            root = old_python.build(folder)
            _make(kept, folder, root, root / "usr" / "local", old_python.PYTHON)
    return kept


def of_this_host() -> Path:
    """Return an archive of the Python that runs the tests."""
    home = Path(sys.base_prefix)
    program = (home / "bin" / f"python{HERE}").resolve()
    with _kept(HERE, str(program).encode() + program.read_bytes()) as (kept, folder):
        if not kept.is_file():
            _make(kept, folder, Path("/"), home, HERE)
    return kept


@contextmanager
def _kept(python: str, origin: bytes) -> Iterator[tuple[Path, Path]]:
    """Give, to one process at a time, the path of an archive and a folder to make it in where it is not there yet."""
    mark = hashlib.sha256(Path(__file__).read_bytes() + origin).hexdigest()[:16]
    kept = CACHE / "test-interpreters" / f"cpython-{python}-{mark}.tar.gz"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with locked(kept.with_suffix(".lock")), tempfile.TemporaryDirectory(dir=kept.parent, prefix=".making-") as folder:
        yield kept, Path(folder)


def _make(kept: Path, folder: Path, root: Path, home: Path, python: str) -> None:
    made = folder / "made.tar.gz"
    made.write_bytes(_archive(_lay_out(root, home, python, folder / "python")))
    made.replace(kept)


def _lay_out(root: Path, home: Path, python: str, folder: Path) -> Path:
    library = folder / "lib" / f"python{python}"
    shutil.copytree(home / "lib" / f"python{python}", library, ignore=_ignored, ignore_dangling_symlinks=True)
    program = folder / "bin" / f"python{python}"
    program.parent.mkdir()
    shutil.copy(home / "bin" / f"python{python}", program)
    for name in ("python3", "python"):
        program.with_name(name).symlink_to(program.name)
    _bring_libraries(root, home, [program, *library.rglob("*.so")], folder / "lib")
    licences = [library / "LICENSE.txt", *(home / "share" / "doc").glob(f"libpython{python}-minimal/copyright")]
    text = next(path.read_bytes() for path in licences if path.is_file() and NEEDED.search(path.read_bytes()))
    (library / "LICENSE.txt").write_bytes(text)
    header = folder / "include" / f"python{python}" / "patchlevel.h"
    header.parent.mkdir(parents=True)
    header.write_text(f'#define PY_VERSION              "{_version(folder, python)}"\n')
    return folder


def _ignored(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name in LEFT_OUT or name.startswith(("config-", "sitecustomize", "_tkinter"))}


def _version(folder: Path, python: str) -> str:
    """Return the exact version, out of the binary or its library: it may be of another machine than this one."""
    files = [folder / "bin" / f"python{python}", *(folder / "lib").glob("libpython*")]
    # A compiler may keep it as the end of another text.
    version = re.compile(re.escape(python).encode() + rb"\.\d+(?=\0)")
    found = version.search(b"".join(path.read_bytes() for path in files))
    assert found is not None
    return found[0].decode()


def _bring_libraries(root: Path, home: Path, files: list[Path], target: Path) -> None:
    """Copy what the files need, and what that needs, into `target`, and let all of them find it there."""
    left, seen = list(files), set[str]()
    while left:
        file = left.pop()
        file.chmod(0o755)
        if strip := shutil.which("strip"):
            subprocess.run([strip, "--strip-debug", str(file)], check=True)
        wanted = [name for name in _patchelf("--print-needed", str(file)).split() if not GLIBC.fullmatch(name)]
        if not wanted:
            continue
        depth = len(file.parent.relative_to(target.parent).parts)
        way = "$ORIGIN" + ("" if file.parent == target else "/.." * depth + "/lib")
        _patchelf("--set-rpath", way, str(file))
        for name in set(wanted) - seen:
            seen.add(name)
            shutil.copy(next(_found(root, home, name)), target / name)
            left.append(target / name)


def _found(root: Path, home: Path, name: str) -> Iterator[Path]:
    for folder in (home / "lib", root / "usr" / "lib", root / "lib"):
        yield from folder.glob(name)
        yield from folder.glob(f"*-linux-gnu/{name}")


def _patchelf(*words: str) -> str:
    argv = [str(Path(sys.executable).with_name("patchelf")), *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def _archive(folder: Path) -> bytes:
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=6, mtime=0) as packed, _writing(packed) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or path.is_file():
                tar.add(path, f"python/{path.relative_to(folder)}", recursive=False, filter=_plain)
    return stream.getvalue()


def _writing(stream: gzip.GzipFile) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 1_700_000_000
    info.mode = 0o755 if info.mode & 0o111 else 0o644
    return info

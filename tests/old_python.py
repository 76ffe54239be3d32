"""Compile CPython on the oldest system that Ferry is tested on, so that it runs on that one and on all later ones.

In: Debian's own source package, fetched by apt from the mirror that debootstrap uses, and a Debian 11 with a compiler,
made for it and thrown away. Out: the installed tree; tests/relocatable.py lays it out as an archive and keeps that.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

from roots import debootstrap, in_namespace, server_root

PYTHON = "3.11"
OLDEST = "bullseye"
GLIBC = "2.31"  # that release's
SOURCE_OF = "bookworm"  # the release whose python3.11 it is
LIBRARIES = ("libbz2-dev", "libffi-dev", "liblzma-dev", "libsqlite3-dev", "libssl-dev", "zlib1g-dev")
COMPILER = ("gcc", "libc6-dev", "make")

# Not `make install`: it compiles the library's bytecode three times over, which whoever unpacks it does for himself.
# With docstrings: torch does not import without them. /dev/shm is where configure tries semaphores, which numba needs.
BUILD = """
set -eu
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
cd /source
./configure --prefix=/usr/local --with-ensurepip=no --disable-test-modules \
    OPT='-DNDEBUG -g0 -O2 -fwrapv -Wall'
make -j2
make altbininstall sharedinstall
cp -R Lib/. build/lib.*/_sysconfigdata_*.py /usr/local/lib/python3.11/
cp LICENSE /usr/local/lib/python3.11/LICENSE.txt
"""


def recipe() -> bytes:
    """Return what the result depends on."""
    return "\0".join((OLDEST, SOURCE_OF, *COMPILER, *LIBRARIES, BUILD)).encode()


def build(folder: Path) -> Path:
    """Compile it below an empty folder, in about four minutes, and return the root that it is installed in."""
    print(f"\ncompiling Python {PYTHON} on Debian 11 (once, about 4 minutes)", file=sys.stderr, flush=True)
    root, packed = folder / "root", folder / "packed"
    root.mkdir()
    debootstrap(root, OLDEST, (*COMPILER, *LIBRARIES))
    packed.mkdir()
    _fetch_source(packed)
    (archive,) = packed.glob("*.orig.tar.*")
    with tarfile.open(archive) as tar:
        tar.extractall(packed / "tree", filter="data")
    (tree,) = (packed / "tree").iterdir()
    tree.rename(root / "source")
    in_namespace(["chroot", str(root), "sh", "-c", BUILD])
    return root


def _fetch_source(folder: Path) -> None:
    """Fetch the source package with this host's apt and the list that debootstrap left in a server's root."""
    server = server_root(SOURCE_OF)
    lists = folder / "lists" / "partial"
    lists.mkdir(parents=True)
    listed = (server / "etc/apt/sources.list").read_text()
    (folder / "sources.list").write_text(listed.replace("deb ", "deb-src "))
    options = {
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "-",
        "Dir::Etc::TrustedParts": server / "etc/apt/trusted.gpg.d",
        "Dir::State::Lists": lists.parent,
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-q", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    for words in (["update"], ["source", "--download-only", f"python{PYTHON}"]):
        done = subprocess.run([*apt, *words], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"apt-get {' '.join(words)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

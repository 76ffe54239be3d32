"""A Debian 12 with the demo on it, for tests of what comes after: installed once, and kept beside the bundle.

In: the demo bundle. Out: the layers of a disk that a container boots from (tests/container.py), as install.sh left it
and as it was then switched off. Where a disk has layers, a folder of a lower one cannot be renamed, and a new name of a
file there takes room: tests of what the installer does to its own folders install for themselves.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from container import Container
from demo_bundle import DemoBundle
from roots import locked, server_root
from servers import Server


def installed(demo: DemoBundle) -> tuple[Path, ...]:
    """Return the disk of a server on which the demo was installed as root, the topmost layer first."""
    root = server_root()
    # One that was made anew may have other packages.
    digest = hashlib.sha256(f"{root.name} {root.stat().st_ino}".encode()).hexdigest()[:12]
    kept = demo.folder.with_name(f"installed-{digest}")
    with locked(demo.folder.with_name(".lock-installed")):
        if not kept.is_dir():
            _install(demo, root, kept)
    return kept, root


def _install(demo: DemoBundle, root: Path, kept: Path) -> None:
    made = Container(root)
    made.show("/media/usb", demo.folder)
    with made:
        Server(made, {}).install()
        made.keep(kept)

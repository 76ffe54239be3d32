"""Packages from npm, as a project's lock has them: installed once below ~/.cache/ferry."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from roots import CACHE, locked

PAGE_CHECKS = Path(__file__).parent / "page_npm"


def modules(project: Path) -> Path:
    """Return the folder of the installed packages of a project, which holds package.json and package-lock.json."""
    digest = hashlib.sha256((project / "package-lock.json").read_bytes()).hexdigest()[:16]
    home = CACHE / "npm" / digest
    home.parent.mkdir(parents=True, exist_ok=True)
    with locked(home.parent / ".lock"):
        if not home.is_dir():
            _install(project, home)
    return home / "node_modules"


def workplace(project: Path, folder: Path) -> Path:
    """Lay the project's own files beside its packages in an empty folder: node looks for packages beside a script."""
    for path in (*project.glob("*.mjs"), project / "package.json"):
        shutil.copy(path, folder)
    (folder / "node_modules").symlink_to(modules(project))
    return folder


def _install(project: Path, home: Path) -> None:
    making = Path(tempfile.mkdtemp(prefix=".making-", dir=home.parent))
    for name in ("package.json", "package-lock.json"):
        shutil.copy(project / name, making)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=making, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    making.rename(home)

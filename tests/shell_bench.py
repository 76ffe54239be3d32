"""Run install.sh on one bundle after the other, with a stand-in for install.pyz that says how it was called."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import small_bundle
from small_bundle import Members, Recipe

SCRIPT = Path(small_bundle.ROOT, "installer", "install.sh")
# Stands for install.pyz: says how it was called.
ECHO = b"""
import json, sys
allowed = sys.argv[sys.argv.index("--allowed-signers") + 1] if "--allowed-signers" in sys.argv else ""
print(json.dumps({"argv": sys.argv[1:], "allowed": open(allowed, errors="replace").read() if allowed else ""}))
"""


@dataclass(frozen=True)
class Bench:
    """A folder with a key and a place for temporary folders, in which install.sh is run."""

    folder: Path
    key: Path

    @property
    def recipe(self) -> Recipe:
        return Recipe(keys=(self.key,), installer=ECHO, is_installable=False)

    @property
    def allowed(self) -> Path:
        return self.key.with_suffix(".allowed")

    def pack(self, content: Members) -> Path:
        return small_bundle.pack(self.folder / "bundle.tar", self.recipe.name, content)

    def run(self, *words: str | Path, shell: list[str] | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        """Run install.sh in user mode without a terminal."""
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        prefix = ["--user-mode", "--prefix", str(self.folder / "prefix")]
        return subprocess.run(
            [*(shell or ["sh"]), str(SCRIPT), *map(str, words), *prefix],
            env=os.environ | {"TMPDIR": str(temporary)} | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def refuse(self, bundle: Path, named: str, status: int = 3, *words: str | Path) -> str:
        """Expect an error that names something, with a hint, and nothing left behind."""
        before = sorted(self.folder.rglob("*"))
        done = self.run(bundle, *(words or ("--allowed-signers", self.allowed)))
        assert done.returncode == status, done.stdout + done.stderr
        assert named in done.stderr and "\nhint: " in "\n" + done.stderr and done.stdout == ""
        left = [path for path in sorted(self.folder.rglob("*")) if path not in before and path.name != "tmp"]
        assert left == []
        return done.stderr


def replaced(name: str, data: bytes) -> Callable[[Members], Members]:
    return lambda content: [(path, data if path == name else old) for path, old in content]

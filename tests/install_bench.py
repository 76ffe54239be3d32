"""Install bundles in user mode, run their `ferry`, and look at what is there: disk and processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ports
import small_bundle
from small_bundle import Recipe

SCRIPT = Path(small_bundle.ROOT, "installer", "install.sh")


@dataclass(frozen=True)
class Bench:
    """A folder with a key, and a prefix in it that a test installs to.

    `python` is what --python names, None for a bundle that carries one; `path` takes the place of PATH.
    """

    folder: Path
    key: Path
    prefix: Path
    port: int = field(default_factory=ports.free_port)
    python: str | None = sys.executable
    path: str | None = None

    @property
    def recipe(self) -> Recipe:
        return Recipe(keys=(self.key,))

    def install(self, recipe: Recipe, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        return self.install_file(small_bundle.make(self.folder / "medium", recipe), *words, status=status)

    def install_file(self, bundle: Path, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        command = self.command(bundle, *words)
        done = subprocess.run(command, **OUTPUT, env=self.environment, stdin=subprocess.DEVNULL, check=False)
        assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def command(self, bundle: Path, *words: str) -> list[str]:
        trust = ["--allowed-signers", str(self.key.with_suffix(".allowed"))]
        mode = ["--user-mode", "--prefix", str(self.prefix), "--listen", f"127.0.0.1:{self.port}"]
        named = ["--python", self.python] if self.python else []
        return ["sh", str(SCRIPT), str(bundle), *trust, *mode, *named, *words]

    @property
    def environment(self) -> dict[str, str]:
        return dict(os.environ) if self.path is None else os.environ | {"PATH": self.path}

    def ferry(self, *words: str, status: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", status=status).stdout)

    def run(self, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        command = [str(self.prefix / "bin" / "ferry"), *words]
        done = subprocess.run(command, **OUTPUT, env=self.environment, check=False)
        assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def processes(self) -> list[str]:
        """Return the command lines of living processes that name the prefix."""
        lines = [command_line(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [line for line in lines if str(self.prefix) in line and "service." in line]

    def releases(self) -> list[str]:
        return sorted(path.name for path in (self.prefix / "releases").iterdir())


OUTPUT: Any = {"capture_output": True, "text": True}


def path_without_python(folder: Path) -> str:
    """Make a folder that stands for PATH on a server that has every tool of this host's, and no Python."""
    folder.mkdir()
    for tool in (tool for place in os.defpath.split(":")[::-1] for tool in Path(place).glob("*")):
        link = folder / tool.name
        if "python" not in str(tool.resolve()) and not link.is_symlink():
            link.symlink_to(tool)
    return str(folder)


def command_line(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return everything below a folder: mode, and content or target; logs and what runs are left out."""

    def of(path: Path) -> tuple[int, bytes]:
        if path.is_symlink():
            return 0, str(path.readlink()).encode()
        return path.stat().st_mode, path.read_bytes() if path.is_file() else b""

    paths = (path for path in folder.rglob("*") if not {"log", "run"} & set(path.relative_to(folder).parts))
    return {str(path): of(path) for path in paths}


@contextmanager
def benching(folder: Path) -> Iterator[Bench]:
    """Give a bench; afterwards stop what was installed there, and prove that no process of it is left."""
    made = Bench(folder, small_bundle.make_key(folder / "key"), folder / "prefix")
    yield made
    if (made.prefix / "bin" / "ferry").exists():
        subprocess.run([str(made.prefix / "bin" / "ferry"), "stop"], **OUTPUT, check=False)
    assert made.processes() == []

"""The JavaScript client from npm, as its lock has it: installed once below ~/.cache/ferry, then run on a server."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from conformance_target import Target
from roots import CACHE, locked

PROJECT = Path(__file__).parent / "openai_npm"


def run(target: Target, folder: Path) -> dict[str, str]:
    """Run the checks. Returns: by name, "ok", or why one failed."""
    shutil.copy(PROJECT / "client.mjs", folder)
    (folder / "node_modules").symlink_to(modules())
    places = {"FERRY_URL": f"{target.root}/v1", "FERRY_KEY": target.key, "FERRY_MODEL": target.model}
    done = subprocess.run(
        ["node", str(folder / "client.mjs")], env=os.environ | places, capture_output=True, text=True, timeout=600
    )
    lines = [line.partition(" ") for line in done.stdout.splitlines()]
    assert lines, done.stderr
    results = {}
    for word, _, rest in lines:
        name, _, why = rest.partition(": ")
        results[name] = "ok" if word == "ok" else why
    return results


def modules() -> Path:
    """Return the folder of the installed packages."""
    digest = hashlib.sha256((PROJECT / "package-lock.json").read_bytes()).hexdigest()[:16]
    home = CACHE / "npm" / digest
    home.parent.mkdir(parents=True, exist_ok=True)
    with locked(home.parent / ".lock"):
        if not home.is_dir():
            _install(home)
    return home / "node_modules"


def _install(home: Path) -> None:
    making = Path(tempfile.mkdtemp(prefix=".making-", dir=home.parent))
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PROJECT / name, making)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=making, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    making.rename(home)

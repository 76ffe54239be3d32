"""Build the demo bundle that the tests install, once for each state of the tree that goes into it.

In: the checkout. Out: a DemoBundle under ~/.cache/ferry/bundles, signed with a key of its own. The last two are kept.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from roots import CACHE

CHECKOUT = Path(__file__).resolve().parent.parent
BUNDLES = CACHE / "bundles"
KEPT = 2
EPOCH = "1735689600"  # one sequence number for all: the same tree is the same bundle


@dataclass(frozen=True)
class DemoBundle:
    """A signed bundle as it would lie on a medium, and beside it the key that signed it."""

    folder: Path

    @property
    def tarball(self) -> Path:
        (found,) = self.folder.glob("ferry-demo-*.tar")
        return found

    @property
    def allowed_signers(self) -> Path:
        return self.folder / "allowed_signers"

    @property
    def signing_key(self) -> Path:
        return self.folder.with_name("signing_key")


def demo_bundle() -> DemoBundle:
    """Return the demo bundle of this checkout, built now when the tree changed."""
    digest = _run(["sh", str(CHECKOUT / "make/tree_digest.sh")]).strip()
    home = BUNDLES / digest
    BUNDLES.mkdir(parents=True, exist_ok=True)
    with (BUNDLES / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.is_dir():
            _build(home)
        os.utime(home)
        _forget_old()
    return DemoBundle(home / "media")


def _build(home: Path) -> None:
    for interrupted in BUNDLES.glob(".building-*"):
        shutil.rmtree(interrupted)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=BUNDLES))
    key = building / "signing_key"
    _run(["sh", str(CHECKOUT / "make/signing_key.sh"), str(key)])
    command = [sys.executable, "-m", "bundle", "build", "--profile", "demo"]
    _run([*command, "--out", str(building / "media"), "--sign-key", str(key)])
    building.chmod(0o755)
    building.rename(home)


def _forget_old() -> None:
    kept = sorted((path for path in BUNDLES.iterdir() if path.is_dir()), key=lambda path: -path.stat().st_mtime)
    for old in kept[KEPT:]:
        shutil.rmtree(old)


def _run(argv: list[str]) -> str:
    environment = os.environ | {"SOURCE_DATE_EPOCH": EPOCH}
    done = subprocess.run(argv, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout

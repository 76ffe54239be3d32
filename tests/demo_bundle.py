"""Build the demo bundle that the tests install, once for each state of the tree that goes into it.

In: the checkout. Out: a DemoBundle under ~/.cache/ferry/bundles, signed with a key of its own. The last two are kept,
and those that tests are running on.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from roots import CACHE, in_use, keep_in_use, locked

CHECKOUT = Path(__file__).resolve().parent.parent
BUNDLES = CACHE / "bundles"
KEPT = 2
CARRIED = ("LICENSE", "requirements.in", "bundle", "checksums", "installer", "service", "systemd")
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
    with _home() as home:
        return DemoBundle(home / "media")


def carrying_bundle(archive: Path, glibc: str) -> DemoBundle:
    """Return the same with an interpreter of one's own in it, made for the glibc that this one needs; same key."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    with _home() as home:
        media = home / f"media-{digest[:16]}"
        if not media.is_dir():
            profile = home / "demo.toml"
            text = (CHECKOUT / "bundle/profiles/demo.toml").read_text()
            profile.write_text(text.replace('glibc = "2.28"', f'glibc = "{glibc}"'))
            _build(str(profile), home / "signing_key", media, "--python", str(archive))
            (home / f"{media.name}.archive").write_text(str(archive))
        return DemoBundle(media)


def next_bundle(bundle: DemoBundle) -> DemoBundle:
    """Return version 0.1.1 of a demo bundle, made from a checkout in which one file of the app is new; same key."""
    with _home() as home:
        media = home / f"next-{bundle.folder.name}"
        if not media.is_dir():
            with tempfile.TemporaryDirectory(dir=home) as folder:
                _build_next(bundle, Path(folder, "checkout"), media)
        return DemoBundle(media)


def delta_bundle(bundle: DemoBundle, inventory: str) -> Path:
    """Return that version 0.1.1 as a delta on what a server wrote down of itself."""
    with _home() as home:
        media = home / f"delta-{hashlib.sha256(inventory.encode()).hexdigest()[:16]}"
        if not media.is_dir():
            with tempfile.TemporaryDirectory(dir=home) as folder:
                base = Path(folder, "inventory.json")
                base.write_text(inventory)
                _build_next(bundle, Path(folder, "checkout"), media, "--base", str(base))
        return DemoBundle(media).tarball


def _build_next(bundle: DemoBundle, checkout: Path, media: Path, *words: str) -> None:
    archives = (home := bundle.folder.parent) / f"{bundle.folder.name}.archive"
    carried = ["--python", archives.read_text()] if archives.exists() else []
    profile = str(home / "demo.toml") if carried else "demo"
    copy_checkout(checkout)
    _build(profile, bundle.signing_key, media, *carried, *words, "--version", "0.1.1", checkout=checkout)


def copy_checkout(target: Path) -> None:
    """Copy what a bundle is built from, and add one file to the app."""
    target.mkdir()
    for name in CARRIED:
        source = CHECKOUT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target / name)
    (target / "service" / "news.txt").write_text("one file is new\n")


@contextmanager
def _home() -> Iterator[Path]:
    """Give the folder of this tree's bundles, with the demo's own in it, to one process at a time."""
    digest = _run(["sh", str(CHECKOUT / "make/tree_digest.sh")]).strip()
    home = BUNDLES / digest
    BUNDLES.mkdir(parents=True, exist_ok=True)
    with locked(BUNDLES / ".lock"):
        if not home.is_dir():
            _make(home)
        keep_in_use(home)
        os.utime(home)
        _forget_old()
        yield home


def _make(home: Path) -> None:
    for interrupted in BUNDLES.glob(".building-*"):
        shutil.rmtree(interrupted)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=BUNDLES))
    key = building / "signing_key"
    _run(["sh", str(CHECKOUT / "make/signing_key.sh"), str(key)])
    _build("demo", key, building / "media")
    building.chmod(0o755)
    building.rename(home)


def _build(profile: str, key: Path, media: Path, *words: str, checkout: Path = CHECKOUT) -> None:
    making = media.with_name(f".making-{media.name}")
    shutil.rmtree(making, ignore_errors=True)
    command = [sys.executable, "-m", "bundle", "build", "--profile", profile, "--out", str(making)]
    epoch = int(EPOCH) + (checkout != CHECKOUT)
    _run([*command, "--sign-key", str(key), *words], checkout, epoch)
    making.rename(media)


def _forget_old() -> None:
    kept = sorted((path for path in BUNDLES.iterdir() if path.is_dir()), key=lambda path: -path.stat().st_mtime)
    for old in kept[KEPT:]:
        if not in_use(old):  # by the tests of another checkout
            shutil.rmtree(old)


def _run(argv: list[str], checkout: Path = CHECKOUT, epoch: int = int(EPOCH)) -> str:
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(epoch)}
    done = subprocess.run(argv, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout

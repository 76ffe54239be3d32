"""A copy of Ferry whose service needs two small wheels: what a build takes is then what its model takes."""

from __future__ import annotations

import shutil
from pathlib import Path

from bundle import cache, lock, sources, targets
from bundle import wheels as store
from bundle.progress import Progress

ROOT = Path(__file__).resolve().parents[1]
APP = Path(__file__).with_name("small_app")
WHEELS = ("click", "tqdm")
TARGET = """
[target]
python = "3.11"
platform = "x86_64"
glibc = "2.28"
[python]
source = "host"
[model]
license = "none"
commercial_use = true
"""


def make(folder: Path, wheels: tuple[str, ...] = WHEELS) -> Path:
    """Write the checkout into `folder`, which is returned; click and tqdm are the least that install.pyz needs."""
    for name in ("bundle", "checksums", "installer", "service", "systemd"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE")
    target = targets.make_target("3.11", "x86_64", "2.28")
    committed = folder / "bundle" / "locks" / targets.lock_name(target)
    kept = tuple(w for w in lock.parse(committed.read_text(), "lock").wheels if w.name in wheels)
    requirements = "".join(f"{wheel.name}=={wheel.version}\n" for wheel in kept)
    (folder / "requirements.in").write_text(requirements)
    committed.write_text(lock.render(lock.Lock(lock.requirements_digest(requirements), kept), target))
    return folder


def make_installable(folder: Path) -> Path:
    """Write a checkout whose service is the tests' stand-in: its bundles install in seconds, whatever the model."""
    make(folder, (*WHEELS, "uv"))
    service = folder / "service"
    kept = {"ferry.toml": service / "ferry.toml", "web/static/vendor": service / "web" / "static" / "vendor"}
    for name, path in kept.items():
        path.rename(folder / name.replace("/", "-"))
    shutil.rmtree(service)
    (service / "web" / "static").mkdir(parents=True)
    for name, path in kept.items():
        (folder / name.replace("/", "-")).rename(path)
    (service / "behaviour").write_text("good")
    for name, path in {"fake_engine": "engine.py", "fake_web": "web/__main__.py", "fake_admin": "web/admin.py"}.items():
        shutil.copy(APP / f"{name}.py", service / path)
    return folder


def profile(folder: Path, name: str, **model: str) -> Path:
    """Write a profile with these lines below [model] and return its path."""
    path = folder / f"{name}.toml"
    path.write_text(TARGET + "".join(f'{key} = "{value}"\n' for key, value in model.items()))
    return path


def share_wheels(cache_home: Path) -> None:
    """Give a cache of a test's own the wheels that this host has: they take minutes to fetch.

    They are all there before: who fetches holds the lock of its own cache, and the store of another's is in its way.
    """
    target = targets.make_target("3.11", "x86_64", "2.28")
    locked = lock.read(ROOT / "bundle" / "locks" / targets.lock_name(target)).wheels
    with cache.locked():
        asked = store.ask(locked, target, sources.configured())
        store.collect(locked, target, asked, Progress(quiet=True))
    (cache_home / "ferry").mkdir(parents=True, exist_ok=True)
    (cache_home / "ferry" / "wheels").symlink_to(cache.folder("wheels"))

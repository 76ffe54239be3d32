"""A lock: the exact wheels for one target, one line each, as pip reads it. Pure: text <-> Lock.

    flask==3.1.3 --hash=sha256:f4bc…  # flask-3.1.3-py3-none-any.whl 103424 index needs blinker click jinja2

Behind the `#` stand the wheel's file name, its size in bytes, where it was found, and the packages that it needs on
this target: a lock proves by itself that it is complete. No address and no path of this host is ever in it. The head
holds the digest of the requirements that it was resolved from.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from bundle import closure, targets
from bundle.closure import Package
from checksums.errors import CollectError, IntegrityError, UsageError
from checksums.manifest import Target

HEAD = "# Wheels for CPython {python} on {platform} Linux with glibc {glibc}; written by: python -m bundle lock\n"
SOURCE = "# resolved from requirements with sha256 {digest}\n"
SOURCE_LINE = re.compile(r"# resolved from requirements with sha256 ([0-9a-f]{64})")
LINE = re.compile(
    r"([a-z0-9][a-z0-9.-]*)==([A-Za-z0-9.+!_-]+) --hash=sha256:([0-9a-f]{64})"
    r"  # ([A-Za-z0-9_.+!-]+\.whl) ([0-9]{1,13}) (index|find-links)(?: needs ([a-z0-9 .-]+))?"
)
AGAIN = "write it anew: python -m bundle lock --profile PROFILE"
# A server without a GPU has no use for gigabytes of CUDA, and plain `torch` brings them.
GPU = re.compile(r"nvidia-.*|cuda-.*|triton(-.*)?|pytorch-triton.*")


@dataclass(frozen=True)
class Locked:
    """One wheel: normalised name, version, file name, SHA-256, size in bytes, "index" or "find-links", its needs."""

    name: str
    version: str
    file: str
    sha256: str
    size_bytes: int
    origin: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lock:
    """All wheels of a target, by name, and the digest of the requirements they satisfy."""

    requirements_sha256: str
    wheels: tuple[Locked, ...]

    def wheel(self, name: str) -> Locked:
        """Return one package's wheel.

        Raises:
            CollectError: the lock does not have it.
        """
        for wheel in self.wheels:
            if wheel.name == name:
                return wheel
        raise CollectError(f"{name}: not in the lock", "add it to requirements.in, then run: python -m bundle lock")


def requirements_digest(text: str) -> str:
    """Return the digest of what requirements say, whatever their comments and blank lines."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return hashlib.sha256("\n".join(line for line in lines if line).encode()).hexdigest()


def render(lock: Lock, target: Target) -> str:
    """Return the lock's text, sorted by name."""
    head = HEAD.format(**vars(target)) + SOURCE.format(digest=lock.requirements_sha256)
    return head + "".join(f"{line(wheel)}\n" for wheel in lock.wheels)


def line(wheel: Locked) -> str:
    """Return a wheel's line in the lock."""
    needs = f" needs {' '.join(wheel.needs)}" if wheel.needs else ""
    return f"{requirement(wheel)}  # {wheel.file} {wheel.size_bytes} {wheel.origin}{needs}"


def requirement(wheel: Locked) -> str:
    """Return the line that pip reads."""
    return f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}"


def committed(folder: Path, requirements: str, target: Target) -> tuple[Lock, Path] | None:
    """Return the lock in `folder` that does for a target, proved to be complete for it, and its file; None without one.

    A lock that was made for another glibc does where every wheel of it fits.

    Raises:
        IntegrityError: the target's own lock is damaged.
        UsageError: the requirements changed since.
        CollectError: the lock is not complete, or carries what it may not.
    """
    for number, path in enumerate(folder / name for name in targets.lock_names(target)):
        if not path.is_file():
            continue
        found = read(path)
        if number and misfits(found, target):
            continue
        if found.requirements_sha256 != requirements_digest(requirements):
            raise UsageError(f"{path.name}: requirements.in changed since", AGAIN)
        try:
            check(found, target)
            prove(found, requirements, target)
        except CollectError as error:
            raise CollectError(f"{path.name}: {error.message}", error.hint) from error
        return found, path
    return None


def read(path: Path) -> Lock:
    """Read a lock from its file; errors as `parse` says."""
    try:
        return parse(path.read_text(encoding="utf-8"), path.name)
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{path.name}: not UTF-8, so no lock of Ferry's", AGAIN) from error


def parse(text: str, name: str) -> Lock:
    """Read a lock; `name` is what messages call it.

    Raises:
        IntegrityError: a line is not what `render` writes.
    """
    digest, wheels = "", []
    for number, line in enumerate(text.split("\n"), 1):
        if not line:
            continue
        if line.startswith("#"):
            found = SOURCE_LINE.fullmatch(line)
            digest = found[1] if found else digest
            continue
        match = LINE.fullmatch(line)
        if not match:
            raise IntegrityError(f"{name}: line {number} is not a lock's", AGAIN)
        needs = tuple((match[7] or "").split())
        wheels.append(Locked(match[1], match[2], match[4], match[3], int(match[5]), match[6], needs))
    return Lock(digest, tuple(sorted(wheels, key=lambda wheel: wheel.name)))


def check(lock: Lock, target: Target) -> None:
    """Refuse a lock that cannot be installed on the target, all faults at once.

    Raises:
        CollectError: a wheel does not fit, a package occurs twice, is missing or is for a GPU.
    """
    faults = [f"{wheel.file} does not fit {describe(target)}" for wheel in misfits(lock, target)]
    faults += [f"{wheel.file} is not {wheel.name} {wheel.version}" for wheel in lock.wheels if not is_named(wheel)]
    faults += [
        f"{wheel.name}: a GPU package; Ferry carries CPU builds only" for wheel in lock.wheels if _for_gpu(wheel)
    ]
    found = [wheel.name for wheel in lock.wheels]
    faults += [f"{name} is locked twice" for name in sorted(set(found)) if found.count(name) > 1]
    if not found:
        faults.append("the lock is empty")
    if faults:
        raise CollectError("; ".join(faults), AGAIN)


def prove(lock: Lock, requirements: str, target: Target) -> None:
    """Refuse a lock in which something that is required, or needed in turn, has no wheel, or that holds more.

    Raises:
        CollectError: every gap is named with who asks for it.
    """
    packages = {wheel.name: Package(wheel.version, wheel.needs) for wheel in lock.wheels}
    closure.check(closure.requirements(requirements), packages, target)


def misfits(lock: Lock, target: Target) -> list[Locked]:
    """Return the wheels that the target cannot install."""
    return [wheel for wheel in lock.wheels if targets.rank(wheel.file, target) is None]


def is_named(wheel: Locked) -> bool:
    """Tell whether a wheel's file is called by its package and version."""
    try:
        name, version, _, _ = parse_wheel_filename(wheel.file)
        return name == wheel.name and version == Version(wheel.version)
    except (InvalidWheelFilename, InvalidVersion):
        return False


def _for_gpu(wheel: Locked) -> bool:
    return bool(GPU.fullmatch(wheel.name)) or "+cu" in wheel.version or "+rocm" in wheel.version


def describe(target: Target) -> str:
    """Return a target in words."""
    return f"CPython {target.python} on {target.platform} with glibc {target.glibc}"


def changes(old: Lock | None, new: Lock) -> list[str]:
    """Return what a refreshed lock changes, one line a package; empty when nothing does."""
    before: dict[str, Locked] = {wheel.name: wheel for wheel in old.wheels} if old else {}
    after = {wheel.name: wheel for wheel in new.wheels}
    lines = [_change(name, before.get(name), after.get(name)) for name in sorted({*before, *after})]
    return [line for line in lines if line]


def _change(name: str, old: Locked | None, new: Locked | None) -> str:
    if old is None or new is None:
        return f"+ {name} {new.version}" if new else f"- {name} {old.version}" if old else ""
    if old.version != new.version:
        return f"~ {name} {old.version} -> {new.version}"
    if old.sha256 != new.sha256:
        return f"! {name} {new.version}: another file, {new.file}"
    return "" if old == new else f"! {name} {new.version}: the same file, described anew"


def total_bytes(wheels: Sequence[Locked]) -> int:
    """Return the size of all wheels together."""
    return sum(wheel.size_bytes for wheel in wheels)

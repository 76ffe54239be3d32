"""A lock: the exact wheels for one target, one line each, as pip reads it. Pure: text <-> Lock.

    click==8.5.1 --hash=sha256:8bb5…  # click-8.5.1-py3-none-any.whl 126163 index

Behind the `#` stand the wheel's file name, its size in bytes and where it was found. No address and no path of this
host is ever in it. The head holds the digest of the requirements that it was resolved from.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bundle import targets
from checksums.errors import CollectError, IntegrityError
from checksums.manifest import Target

HEAD = "# Wheels for CPython {python} on {platform} Linux with glibc {glibc}; written by: python -m bundle lock\n"
SOURCE = "# resolved from requirements with sha256 {digest}\n"
SOURCE_LINE = re.compile(r"# resolved from requirements with sha256 ([0-9a-f]{64})")
LINE = re.compile(
    r"([a-z0-9][a-z0-9.-]*)==([A-Za-z0-9.+!_-]+) --hash=sha256:([0-9a-f]{64})"
    r"  # ([A-Za-z0-9_.+!-]+\.whl) ([0-9]+) (index|find-links)"
)
# A server without a GPU has no use for gigabytes of CUDA, and plain `torch` brings them.
GPU = re.compile(r"nvidia-.*|cuda-.*|triton(-.*)?|pytorch-triton.*")


@dataclass(frozen=True)
class Locked:
    """One wheel: normalised name, version, file name, SHA-256, size in bytes, "index" or "find-links"."""

    name: str
    version: str
    file: str
    sha256: str
    size_bytes: int
    origin: str


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
    return head + "".join(requirement(wheel) + f"  # {_facts(wheel)}\n" for wheel in lock.wheels)


def requirement(wheel: Locked) -> str:
    """Return the line that pip reads."""
    return f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}"


def _facts(wheel: Locked) -> str:
    return f"{wheel.file} {wheel.size_bytes} {wheel.origin}"


def parse(text: str, name: str) -> Lock:
    """Read a lock; `name` is what messages call it.

    Raises:
        IntegrityError: a line is not what `render` writes.
    """
    digest, wheels = "", []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            found = SOURCE_LINE.fullmatch(line)
            digest = found[1] if found else digest
            continue
        match = LINE.fullmatch(line)
        if not match:
            raise IntegrityError(f"{name}: line {number} is not a lock's", "write it anew: python -m bundle lock")
        wheels.append(Locked(match[1], match[2], match[4], match[3], int(match[5]), match[6]))
    return Lock(digest, tuple(sorted(wheels, key=lambda wheel: wheel.name)))


def check(lock: Lock, target: Target) -> None:
    """Refuse a lock that cannot be installed on the target, all faults at once.

    Raises:
        CollectError: a wheel does not fit, a package occurs twice, is missing or is for a GPU.
    """
    faults = [f"{wheel.file} does not fit {describe(target)}" for wheel in misfits(lock, target)]
    faults += [
        f"{wheel.name}: a GPU package; Ferry carries CPU builds only" for wheel in lock.wheels if _for_gpu(wheel)
    ]
    found = [wheel.name for wheel in lock.wheels]
    faults += [f"{name} is locked twice" for name in sorted(set(found)) if found.count(name) > 1]
    if not found:
        faults.append("the lock is empty")
    if faults:
        raise CollectError("; ".join(faults), "resolve again: python -m bundle lock")


def misfits(lock: Lock, target: Target) -> list[Locked]:
    """Return the wheels that the target cannot install."""
    return [wheel for wheel in lock.wheels if targets.rank(wheel.file, target) is None]


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
    return "" if old.sha256 == new.sha256 else f"! {name} {new.version}: another file, {new.file}"


def total_bytes(wheels: Sequence[Locked]) -> int:
    """Return the size of all wheels together."""
    return sum(wheel.size_bytes for wheel in wheels)

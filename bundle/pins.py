"""Which python-build-standalone archive is carried for which target: the exact version, build and digest, as text.

`bundle/interpreters.txt` is part of the repository, so nothing is ever "the newest". It is written from the table of
the package pbs-installer by `python -m bundle lock`; this is the one module that knows that package. No address is
in the file: it follows from the build and the name, below a base that UV_PYTHON_INSTALL_MIRROR replaces, as it does
for uv.

    3.11 x86_64 3.11.17 20261021 224ca8be2d28…
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from checksums.errors import CollectError, IntegrityError
from checksums.manifest import Target

FILE = Path(__file__).parent / "interpreters.txt"
BASE = "https://github.com/astral-sh/python-build-standalone/releases/download"
MIRROR = "UV_PYTHON_INSTALL_MIRROR"
HEAD = "# python-build-standalone: Python, architecture, version, build, sha256; written by: python -m bundle lock\n"
NAME = "cpython-{version}+{build}-{machine}-unknown-linux-gnu-install_only_stripped.tar.gz"
LINE = re.compile(r"(3\.[0-9]{1,2}) (\w+) (\1\.[0-9]{1,3}) ([0-9]{8}) ([0-9a-f]{64})")


@dataclass(frozen=True)
class Pin:
    """One archive: for Python "3.11" on "x86_64" the version "3.11.17" of build "20261021", and its SHA-256."""

    python: str
    machine: str
    version: str
    build: str
    sha256: str

    @property
    def name(self) -> str:
        """The archive's file name, as its makers gave it."""
        return NAME.format(**vars(self))

    @property
    def url(self) -> str:
        """Where it is fetched from."""
        return f"{base()}/{self.build}/{quote(self.name)}"


def base() -> str:
    """Return the address below which the builds lie, without a final slash."""
    return (os.environ.get(MIRROR) or BASE).rstrip("/")


def find(target: Target) -> Pin:
    """Return the pinned archive of a target.

    Raises:
        CollectError: there is none.
    """
    for pin in parse(FILE.read_text(encoding="utf-8")):
        if (pin.python, pin.machine) == (target.python, target.platform):
            return pin
    raise CollectError(
        f"{FILE.name}: no Python {target.python} for {target.platform} is pinned", "pin one: python -m bundle lock"
    )


def parse(text: str) -> list[Pin]:
    """Read the file's text.

    Raises:
        IntegrityError: a line is not what `render` writes.
    """
    pins = []
    for number, line in enumerate(text.splitlines(), 1):
        found = LINE.fullmatch(line)
        if found:
            pins.append(Pin(*found.groups()))
        elif not line.startswith("#"):
            raise IntegrityError(f"{FILE.name}: line {number} is no pin", "write it anew: python -m bundle lock")
    return pins


def render(pins: list[Pin]) -> str:
    """Return the file's text, sorted by machine and version."""
    lines = (" ".join(vars(pin).values()) for pin in sorted(pins, key=_order))
    return HEAD + "".join(f"{line}\n" for line in lines)


def refresh(target: Target) -> list[str]:
    """Pin the newest archive that pbs-installer knows for a target; return what changed, one line or none."""
    pins = {(pin.python, pin.machine): pin for pin in parse(FILE.read_text(encoding="utf-8"))}
    key = (target.python, target.platform)
    old, new = pins.get(key), newest(target.python, target.platform)
    if old == new:
        return []
    written = FILE.with_suffix(".new")
    written.write_text(render(list({**pins, key: new}.values())), encoding="utf-8")
    written.replace(FILE)
    before = f"{old.version}+{old.build} -> " if old else ""
    return [f"{'~' if old else '+'} the interpreter, cpython {before}{new.version}+{new.build}"]


def newest(python: str, machine: str) -> Pin:
    """Ask pbs-installer's table, which is inside the package, for the newest build of a Python.

    Raises:
        CollectError: it has none of the kind that Ferry carries: glibc, stripped, with a digest.
    """
    from pbs_installer import get_download_link

    try:
        version, (url, sha256) = get_download_link(python, arch=machine, platform="linux", base_url=BASE)
    except ValueError as error:
        raise CollectError(f"pbs-installer knows no Python {python} for {machine}", "take another target") from error
    text = f"{version.major}.{version.minor}.{version.micro}"
    build = re.search(r"\+(\d{8})-", unquote(url))
    pin = Pin(python, machine, text, build[1] if build else "", sha256 or "")
    if not LINE.fullmatch(" ".join(vars(pin).values())) or not unquote(url).endswith(f"/{pin.name}"):
        raise CollectError(f"pbs-installer's {url.rpartition('/')[2]} is not of the kind that Ferry carries", "")
    return pin


def _order(pin: Pin) -> tuple[str, int]:
    return pin.machine, int(pin.python.partition(".")[2])

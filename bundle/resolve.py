"""Requirements -> Lock: uv resolves them for the target, on any build host, and names one wheel for each.

pip evaluates markers for the host that it runs on (pypa/pip#4289); uv does it for the target. CPU torch: from the
configured sources where they offer it, else from PyTorch's own CPU index, whose address uv knows.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bundle import targets
from bundle.lock import Lock, Locked, check, describe, requirements_digest
from bundle.sources import Sources, without_passwords
from checksums import process
from checksums.errors import CollectError
from checksums.manifest import Target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# An index that does not answer must fail well within a minute; one that answers slowly may take its time.
PATIENCE = {"UV_HTTP_TIMEOUT": "20", "UV_HTTP_CONNECT_TIMEOUT": "10", "UV_HTTP_RETRIES": "1"}
TIMEOUT_S = 600.0
TORCH_BACKEND = ["--torch-backend", "cpu"]


@dataclass(frozen=True)
class Offer:
    """A wheel that a source offers, and that source's index address where it is not a configured one."""

    wheel: Locked
    extra_index: str


def resolve(requirements: str, target: Target, sources: Sources) -> Lock:
    """Return the wheels that satisfy `requirements` (pip's syntax) on `target`.

    Raises:
        CollectError: the sources cannot be reached or do not offer everything; the message is the resolver's.
    """
    wheels = tuple(offer.wheel for offer in _ask(requirements, target, sources, []))
    lock = Lock(requirements_digest(requirements), wheels)
    check(lock, target)
    return lock


def locate(wheels: Sequence[Locked], target: Target, sources: Sources) -> Sources:
    """Ask the sources for exactly these wheels, before any is fetched; return the sources that together have them.

    Raises:
        CollectError: a source cannot be reached, or a wheel of the lock is not offered; all of those are named.
    """
    pins = "".join(f"{wheel.name}=={wheel.version}\n" for wheel in wheels)
    offers = {offer.wheel.name: offer for offer in _ask(pins, target, sources, ["--no-deps"])}
    lost = [wheel.file for wheel in wheels if offers[wheel.name].wheel.sha256 != wheel.sha256]
    if lost:
        raise CollectError(
            f"not offered with the locked digest: {', '.join(lost)}",
            "add the source that has them (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL), or run: python -m bundle lock",
        )
    for index in sorted({offer.extra_index for offer in offers.values()} - {""}):
        sources = sources.with_index(index)
    return sources


def _ask(requirements: str, target: Target, sources: Sources, options: list[str]) -> list[Offer]:
    try:
        return _compile(requirements, target, sources, options)
    except CollectError as error:
        if "torch" not in error.message:
            raise
        first = error
    try:
        return _compile(requirements, target, sources, [*options, *TORCH_BACKEND])
    except CollectError as error:
        pin = next((line for line in requirements.splitlines() if line.startswith("torch==")), "torch")
        raise CollectError(
            f"{pin}: no configured source offers it for {describe(target)}, and PyTorch's CPU index gave no answer:\n"
            f"{first.message}\n{error.message}",
            f"set PIP_FIND_LINKS=FOLDER, with torch-…+cpu-{targets.abi(target)}-…_{target.platform}.whl in that folder",
        ) from error


def _compile(requirements: str, target: Target, sources: Sources, options: list[str]) -> list[Offer]:
    arguments, environment = sources.for_uv()
    command = [sys.executable, "-m", "uv", "pip", "compile", "--no-config", "--quiet", "--format", "pylock.toml"]
    command += ["--python-version", target.python, "--python-platform", targets.uv_platform(target)]
    command += ["--python", sys.executable, "--only-binary", ":all:", "--index-strategy", "unsafe-best-match"]
    with tempfile.TemporaryDirectory(prefix="ferry-") as folder:
        wanted, answer = Path(folder, "requirements.in"), Path(folder, "pylock.toml")
        wanted.write_text(requirements, encoding="utf-8")
        done = process.run(
            [*command, *arguments, *options, "--output-file", answer, wanted],
            env={**os.environ, **PATIENCE, **environment},
            timeout_s=TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            text = without_passwords(done.stderr.decode(errors="replace")).strip().replace(str(wanted), "requirements")
            raise CollectError(f"the wheels cannot be resolved:\n{text}", "check: pip config list, and the network")
        return _offers(tomllib.loads(answer.read_text(encoding="utf-8")), target, sources)


def _offers(pylock: dict[str, Any], target: Target, sources: Sources) -> list[Offer]:
    """Read PEP 751; keep the best wheel of each package."""
    offers = []
    for package in pylock.get("packages", []):
        ranked = [(targets.rank(_file_name(raw), target), raw) for raw in package.get("wheels", [])]
        fitting = [(rank, _file_name(raw), raw) for rank, raw in ranked if rank is not None]
        if not fitting:
            raise CollectError(
                f"{package['name']}: no wheel for {describe(target)}", "wheels only: nothing is compiled"
            )
        raw = min(fitting, key=lambda entry: entry[:2])[2]
        offers.append(_offer(package, raw, sources))
    return sorted(offers, key=lambda offer: offer.wheel.name)


def _offer(package: dict[str, Any], raw: dict[str, Any], sources: Sources) -> Offer:
    url = str(raw.get("url") or raw.get("path"))
    wheel = Locked(
        name=package["name"],
        version=package["version"],
        file=_file_name(raw),
        sha256=raw["hashes"]["sha256"],
        size_bytes=raw.get("size") or _local_size(url),
        origin=sources.origin_of(url),
    )
    index = str(package.get("index", "")).rstrip("/")
    known = {place.rstrip("/") for place in (sources.index_url, *sources.extra_index_urls)}
    return Offer(wheel, index if "torch" in wheel.name and index not in known else "")


def _file_name(raw: dict[str, Any]) -> str:
    return unquote(urlsplit(str(raw.get("url") or raw.get("path"))).path).rpartition("/")[2]


def _local_size(url: str) -> int:
    """Return a local file's size; 0 where the index did not say, which `plan` calls unknown."""
    path = Path(unquote(urlsplit(url).path))
    return path.stat().st_size if urlsplit(url).scheme in {"", "file"} and path.is_file() else 0

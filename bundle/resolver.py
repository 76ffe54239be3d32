"""uv's resolver: requirements -> the wheels that a target's sources offer for them. The one module that runs it.

pip evaluates markers for the host that it runs on (pypa/pip#4289); uv does it for the target. What uv answers comes
from an index and is checked before it is believed. Format of the answer: PEP 751, pylock.toml.
"""

import os
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from bundle import lock, targets
from bundle.lock import Locked, describe
from bundle.sources import Sources, without_passwords
from checksums import process
from checksums.errors import CollectError
from checksums.manifest import Target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# An index that does not answer must fail well within a minute; one that answers slowly may take its time.
PATIENCE = {"UV_HTTP_TIMEOUT": "20", "UV_HTTP_CONNECT_TIMEOUT": "10", "UV_HTTP_RETRIES": "2"}
TIMEOUT_S = 600.0
UNSOLVED = 1
ERROR = re.compile(r"^error: .*", re.MULTILINE | re.DOTALL)
# What uv logs for each package that another asks for; an edge of the graph that it walks.
ASKED_FOR = re.compile(
    r"^DEBUG Adding (?:direct|transitive) dependency(?: for [^:]+)?: ([A-Za-z0-9._-]+)", re.MULTILINE
)
YANKED = re.compile(r"^warning: `([^`]+)` is yanked(?: \(reason: \"?(.*?)\"?\))?$", re.M)
VIA = re.compile(r"([a-z0-9-]+)==\S+\s+# via (.+)")
CHECK = "check: pip config list, and the network"


class NoSolutionError(CollectError):
    """The sources answer, and what they offer does not satisfy the requirements."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message, CHECK)
        self.asked_for = tuple(sorted({canonicalize_name(name) for name in ASKED_FOR.findall(log)}))


@dataclass(frozen=True)
class Offer:
    """A wheel that a source offers, and that source's index address where it is not a configured one."""

    wheel: Locked
    extra_index: str


@dataclass(frozen=True)
class Question:
    """Requirements in pip's syntax, a target and sources; names to leave out; torch's own index or not.

    `is_alone` asks for what is named and not for what that needs in turn.
    """

    requirements: str
    target: Target
    sources: Sources
    without: tuple[str, ...] = ()
    with_torch_index: bool = False
    is_alone: bool = False


def ask(question: Question) -> list[Offer]:
    """Return one wheel for each package, by name.

    Raises:
        NoSolutionError: the sources do not offer everything; uv's message names the first that is missing.
        CollectError: a source cannot be reached, or answers with what no index may.
    """
    with tempfile.TemporaryDirectory(prefix="ferry-") as folder:
        said = _compile(question, Path(folder), ["--format", "pylock.toml", "--output-file", "pylock.toml"])
        yanked = [f"{name} ({reason or 'no reason given'})" for name, reason in YANKED.findall(said)]
        if yanked and not question.is_alone:  # what is locked stays as it is: PEP 592
            raise CollectError(f"withdrawn by their authors: {', '.join(yanked)}", "change requirements.in")
        pylock = tomllib.loads(Path(folder, "pylock.toml").read_text(encoding="utf-8"))
    return offers(pylock, question.target, question.sources)


def ask_needs(question: Question, wheels: Sequence[Locked]) -> dict[str, tuple[str, ...]]:
    """Return, for a resolution that came out as `wheels`, name -> the names that it needs on the target."""
    with tempfile.TemporaryDirectory(prefix="ferry-") as folder:
        pins = "".join(f"{wheel.name}=={wheel.version}\n" for wheel in wheels)
        Path(folder, "pins.txt").write_text(pins, encoding="utf-8")
        options = ["--constraints", "pins.txt", "--annotation-style", "line", "--no-header"]
        _compile(question, Path(folder), [*options, "--output-file", "answer.txt"])
        lines = Path(folder, "answer.txt").read_text(encoding="utf-8").splitlines()
    needs: dict[str, set[str]] = {wheel.name: set() for wheel in wheels}
    for match in filter(None, map(VIA.fullmatch, lines)):
        for parent in match[2].split(", "):
            if not parent.startswith("-"):
                needs[parent].add(match[1])
    return {name: tuple(sorted(found)) for name, found in needs.items()}


def _compile(question: Question, folder: Path, options: Sequence[str]) -> str:
    """Run uv in a folder and return what it logged."""
    arguments, environment = question.sources.for_uv()
    target = question.target
    command = [sys.executable, "-m", "uv", "pip", "compile", "--no-config", "--verbose", "--color", "never"]
    command += ["--python-version", target.python, "--python-platform", targets.uv_platform(target)]
    command += ["--python", sys.executable, "--only-binary", ":all:", "--index-strategy", "unsafe-best-match"]
    command += ["--torch-backend", "cpu"] if question.with_torch_index else []
    command += ["--no-deps"] if question.is_alone else []
    (folder / "requirements.in").write_text(question.requirements, encoding="utf-8")
    if question.without:
        (folder / "without.txt").write_text("\n".join(question.without), encoding="utf-8")
        command += ["--excludes", "without.txt"]
    done = process.run(
        [*command, *arguments, *options, "requirements.in"],
        env={**os.environ, **PATIENCE, **environment},
        timeout_s=TIMEOUT_S,
        check=False,
        cwd=folder,
    )
    said = without_passwords(done.stderr.decode(errors="replace"))
    if done.returncode == 0:
        return said
    error = ERROR.search(said)
    text = "\n".join(line for line in (error[0] if error else said).splitlines() if line)
    if done.returncode == UNSOLVED:
        raise NoSolutionError(text, said)
    raise CollectError(f"the wheels cannot be resolved:\n{text}", CHECK)


def offers(pylock: dict[str, Any], target: Target, sources: Sources) -> list[Offer]:
    """Read uv's answer; keep the best wheel of each package.

    Raises:
        CollectError: what the index said of a wheel cannot be: its name, its digest or its size.
    """
    found = []
    for package in pylock.get("packages", []):
        ranked = [(targets.rank(file_name(raw), target), raw) for raw in package.get("wheels", [])]
        fitting = [(rank, file_name(raw), raw) for rank, raw in ranked if rank is not None]
        if not fitting:
            raise CollectError(
                f"{package['name']}: no wheel for {describe(target)}", "wheels only: nothing is compiled"
            )
        raw = min(fitting, key=lambda entry: entry[:2])[2]
        found.append(_offer(package, raw, sources))
    return sorted(found, key=lambda offer: offer.wheel.name)


def _offer(package: dict[str, Any], raw: dict[str, Any], sources: Sources) -> Offer:
    url = str(raw.get("url") or raw.get("path"))
    wheel = Locked(
        name=str(package["name"]),
        version=str(package.get("version")),
        file=file_name(raw),
        sha256=str(raw.get("hashes", {}).get("sha256")),
        size_bytes=raw.get("size") or _local_size(url),
        origin=sources.origin_of(url),
    )
    if not lock.LINE.fullmatch(lock.line(wheel)) or not lock.is_named(wheel):
        said = f"file {wheel.file!r}, sha256 {wheel.sha256!r}, size {wheel.size_bytes!r}"
        raise CollectError(f"{wheel.name} {wheel.version}: the index offers no usable wheel: {said}", "ask its owner")
    index = str(package.get("index", "")).rstrip("/")
    known = {place.rstrip("/") for place in (sources.index_url, *sources.extra_index_urls)}
    return Offer(wheel, index if "torch" in wheel.name and index not in known else "")


def file_name(raw: dict[str, Any]) -> str:
    """Return the name of the file behind a wheel's address: what follows the last slash, decoded once."""
    return unquote(urlsplit(str(raw.get("url") or raw.get("path"))).path.rpartition("/")[2])


def _local_size(url: str) -> int:
    """Return a local file's size; 0 where the index did not say, which `plan` calls unknown."""
    path = Path(unquote(urlsplit(url).path))
    return path.stat().st_size if urlsplit(url).scheme in {"", "file"} and path.is_file() else 0
